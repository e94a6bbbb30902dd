"""Processor seconds that a phantom slide takes: ``python -m benchmarks.phantom``; the aim is 0.25 s for 448 pixels."""

from __future__ import annotations

import argparse
import json
import time

from aczerots.datasets.phantom.slide import SlideRecipe, generate


def main() -> None:
    """Print a line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slides", type=int, default=10)
    parser.add_argument("--side", type=int, default=448, help="pixels")
    options = parser.parse_args()
    generate(SlideRecipe(0, 0, (options.side, options.side), 0.5))
    started = time.process_time()
    for i in range(options.slides):
        generate(SlideRecipe(9, i, (options.side, options.side), 0.5))
    seconds = (time.process_time() - started) / options.slides
    print(json.dumps({"side": options.side, "slides": options.slides, "processor_s_per_slide": round(seconds, 3)}))


if __name__ == "__main__":
    main()
