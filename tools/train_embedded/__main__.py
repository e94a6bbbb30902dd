"""Trains the embedded backbone: ``python -m tools.train_embedded DATA --out FILE``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from aczerots.errors import AczerotsError
from tools.train_embedded.fit import TrainingSettings, save, train


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the embedded backbone.")
    parser.add_argument("data", type=Path, help="folder with the training images")
    parser.add_argument("--out", type=Path, required=True, help="weights file to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try the command")
    options = parser.parse_args()
    settings = TrainingSettings(seed=options.seed)
    if options.quick:
        settings = TrainingSettings(seed=options.seed, tiles=2, phantom=1, drawn=8, warm=20, steps=20)
    try:
        image, text = train(options.data, settings, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    except AczerotsError as error:
        sys.exit(str(error))
    save(image, text, settings, options.out)


if __name__ == "__main__":
    main()
