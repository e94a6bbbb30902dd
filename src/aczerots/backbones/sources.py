"""Where the files of a model are that is not saved by transformers: a folder, or a repository on the hub."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aczerots.backbones.hub_files import locate_files
from aczerots.backbones.locator import Locator
from aczerots.errors import InputError, MissingExtraError

HUB = "hf-hub:"
"""What open_clip and timm write before a hub id; may be left out."""


def need(extra: str, modules: Sequence[str], locator: Locator) -> None:
    """See that the libraries of an extra are installed.

    Raises:
        MissingExtraError: One is not.
    """
    if any(importlib.util.find_spec(module) is None for module in modules):
        raise MissingExtraError(extra, f"the backbone '{locator.where}'")


def find_model(locator: Locator, weights: Sequence[str], others: Sequence[str]) -> tuple[Path, str, Path]:
    """Folder, revision and weights of a model; downloads what is used if need be, and one form of the weights only.

    Args:
        locator: Its source is a folder or a hub id, with or without ``hf-hub:`` before it.
        weights: Names that the file of weights may have, best first.
        others: Patterns of the other files that can change an embedding; nothing else is downloaded or hashed.

    Returns:
        (folder, revision, weights): the commit of a hub id, ``sha256:`` over names and contents of the files for a
        folder.

    Raises:
        InputError: No such folder or id, hub not reachable, access refused, or no weights.
    """
    plain = replace(locator, source=locator.source.removeprefix(HUB))
    for name in weights:
        folder, revision = locate_files(plain, (name, *others))
        if (folder / name).is_file():
            return folder, revision, folder / name
        if not plain.is_folder:
            plain = replace(plain, revision=revision)  # what is asked for next is of the same commit
    raise InputError("has no weights", where=locator.where, fix=f"Expected {' or '.join(weights)} in {folder}")


def first_file(folder: Path, names: Sequence[str], locator: Locator, what: str) -> Path:
    """The first of some files that a folder has.

    Raises:
        InputError: It has none.
    """
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise InputError(f"has no {what}", where=locator.where, fix=f"Expected {' or '.join(names)} in {folder}")
    return found
