"""The report page: one self-contained HTML file from one or several run folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write_report(runs: Sequence[Path], out: Path) -> None:
    """Write the report of one run, or the comparison of several.

    Args:
        runs: Run folders.
        out: The HTML file; replaced if there.

    Raises:
        InputError: A run folder is incomplete or damaged; the message names file and line.
        StorageError: The page cannot be written.
    """
    raise NotImplementedError
