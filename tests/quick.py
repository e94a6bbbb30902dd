"""Training in three steps, here or in a process: ``python -m tests.quick simulate ...`` is ``aczerots simulate ...``.

With ``HANG_AT=FILE:LINES`` in the environment a fit that begins once the file has so many lines never ends. A test
that kills the process then finds it at work, however busy the machine is.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE

STEPS = 3


def shorten_fits(patch: pytest.MonkeyPatch) -> None:
    """Let every model that is trained in this process take three steps: who is fitted to what still shows."""
    patch.setattr("aczerots.prozs.train.fit", _short_fit)
    patch.setattr("aczerots.prozs.prototype_weight.STEPS", STEPS)


def _short_fit(*arguments: Any) -> None:
    from aczerots.prozs.fit import fit

    if _must_hang():
        time.sleep(PATIENCE)
    fit(*arguments, steps=STEPS)


def _must_hang() -> bool:
    name, _, lines = os.environ.get("HANG_AT", "").rpartition(":")
    path = Path(name)
    return bool(name) and path.exists() and path.read_bytes().count(b"\n") >= int(lines)


if __name__ == "__main__":
    from aczerots.cli.app import main

    with pytest.MonkeyPatch.context() as started:
        shorten_fits(started)
        main(sys.argv[1:])
