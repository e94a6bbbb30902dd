"""Peak memory of segmenting slides of growing size, each in a process of its own.

Slides are generated: JPEG tiles with levels 4 and 16 at 0.25 micrometres per pixel, read at 0.5, a square of tissue
in the middle of glass. The square has the same number of pixels in all of them by default, so that it takes minutes,
not days; everything that follows the slide (levels, tissue mask, chunks, pyramids, polygons, overlay) follows it all
the same. ``--tissue`` sets its side, ``--fraction`` how much of every slide is tissue: then polygons, labels and
finished chunks follow the slide as well, and the largest takes a quarter of an hour or more.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scale_slides import tissue_pattern, write_slide, zeroshot_model

SIDES = (20_000, 50_000, 100_000)
_CODE = """
import json, sys, time
from aczerots.predict.slides import predict_slides
from aczerots.predict.slide_map import MapOptions
from benchmarks.scale_slides import peak_memory
before, started = peak_memory(), time.perf_counter()
chunk = int(sys.argv[4]) or None
rows, failures = predict_slides(sys.argv[1], [sys.argv[2]], sys.argv[3], options=MapOptions(chunk=chunk))
assert rows and not failures, failures
seconds = round(time.perf_counter() - started, 1)
print(json.dumps({"peak_mb": peak_memory() // 10**6, "imports_mb": before // 10**6, "seconds": seconds}))
"""


def measure(model: Path, slide: Path, chunk: int) -> dict[str, float]:
    """Peak memory and seconds of a process that segments one slide."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-c", _CODE, str(model), str(slide), out, str(chunk)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout)
        return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line of JSON per slide and one about all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--tissue", type=int, default=8192, help="side of the square of tissue in pixels")
    parser.add_argument("--fraction", type=float, help="fraction of the slide that is tissue, instead of --tissue")
    parser.add_argument("--chunk", type=int, default=0, help="map pixels of a chunk; 0 takes what memory allows")
    options = parser.parse_args(arguments)
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        model, pattern = zeroshot_model(Path(folder) / "model.safetensors"), tissue_pattern(2048)
        for side in options.sides:
            island = options.tissue / side if options.fraction is None else math.sqrt(options.fraction)
            slide = write_slide(Path(folder) / "slide.svs", side, pattern, mpp=0.25, island=island)
            row = {"side": side, "file_mb": slide.stat().st_size // 10**6}
            row |= measure(model, slide, options.chunk)
            peaks.append(row["peak_mb"])
            print(json.dumps(row | {"time": time.strftime("%H:%M")}), flush=True)
    spread = (max(peaks) - min(peaks)) / min(peaks)
    print(json.dumps({"peak_mb": max(peaks), "spread": round(spread, 3), "flat": spread <= 0.1}), flush=True)


if __name__ == "__main__":
    main()
