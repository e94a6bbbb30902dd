"""What grows with the size of the work, one part at a time.

    python -m benchmarks.scale selection [--sizes 10000,100000,1000000] [--peers 20000] [--json FILE]
    python -m benchmarks.scale PART --help

Every part is a file ``benchmarks/scale_PART.py`` with a function ``main(arguments)``.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def parts() -> list[str]:
    """Names of the parts there are."""
    return sorted(path.stem.removeprefix("scale_") for path in Path(__file__).parent.glob("scale_*.py"))


def main(arguments: list[str] | None = None) -> None:
    """Run one part."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] not in parts():
        print(f"usage: python -m benchmarks.scale PART [options]; the parts are: {', '.join(parts())}", file=sys.stderr)
        raise SystemExit(2)
    importlib.import_module(f"benchmarks.scale_{words[0]}").main(words[1:])


if __name__ == "__main__":
    main()
