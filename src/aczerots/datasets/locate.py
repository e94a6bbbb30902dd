"""From a locator string to a dataset."""

from __future__ import annotations

from pathlib import Path

from aczerots.datasets.base import Dataset
from aczerots.datasets.folder import folder_dataset
from aczerots.datasets.phantom import phantom_dataset
from aczerots.errors import SettingsError


def locate_dataset(locator: str, seed: int = 0) -> Dataset:
    """TEMPORARY first version: folder and phantom."""
    kind, _, rest = locator.partition(":")
    if kind == "folder":
        return folder_dataset(Path(rest), seed)
    if kind == "phantom":
        head, *opts = rest.split(",")
        kw = dict(o.split("=") for o in opts)
        return phantom_dataset(int(head), int(kw.get("size", 448)), int(kw.get("seed", seed)))
    raise SettingsError(f"unknown dataset kind '{kind}'")
