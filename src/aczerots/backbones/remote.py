"""Models whose repository brings Python code of its own; run only if the user trusts it explicitly."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aczerots.backbones.locator import Locator
from aczerots.errors import InputError

CODE = "*.py"
"""Pattern of the files that are downloaded and hashed besides the usual ones if the code is trusted."""

OWN_LOADER = {"keep": "keep:"}
"""Kinds of ours, by model type, that load such a model without running its code."""

BASES = {"clip": "CLIPModel", "siglip": "SiglipModel"}
"""Classes of transformers that remote models may build on, by family."""


def refuse_code(config: dict[str, Any], locator: Locator) -> None:
    """Refuse a repository that needs its own code, and say how to load it all the same."""
    if "auto_map" not in config:
        return
    kind = str(config.get("model_type", "")).lower()
    if kind in OWN_LOADER:
        fix = f"Use {OWN_LOADER[kind]}{locator.source}, which runs no code from there"
    else:
        fix = "If you trust its authors, pin a revision (ID@COMMIT) and give --trust-remote-code"
    raise InputError("needs Python code from its own repository, which is not run", where=locator.where, fix=fix)


def family_of(model: Any, locator: Locator) -> str:
    """The family whose parts a remote model has; refuses those not known to be aligned with text."""
    transformers: Any = importlib.import_module("transformers")
    for family, base in BASES.items():
        if isinstance(model, getattr(transformers, base)):
            return family
    fix = f"Remote code must build on {' or '.join(BASES.values())} of transformers"
    raise InputError(f"is a {type(model).__name__}, whose parts are not known", where=locator.where, fix=fix)


@contextmanager
def running(locator: Locator) -> Iterator[None]:
    """Turn what trusted code most often fails with, a missing library or a missing name, into an InputError."""
    try:
        yield
    except (ImportError, AttributeError, NameError) as error:
        what = f"its own code fails: {' '.join(str(error).split())[:300]}"
        raise InputError(what, where=locator.where, fix="Install what it needs, or take another model") from error


def check_local(config: dict[str, Any], folder: Path, locator: Locator) -> None:
    """Refuse code that is not in the folder itself, since the revision would not cover it."""
    name = str(config["auto_map"].get("AutoModel", "")) if isinstance(config["auto_map"], dict) else ""
    if "--" in name or not name or not (folder / f"{name.partition('.')[0]}.py").is_file():
        fix = "Its revision would not cover that code"
        raise InputError(f"its code is not in its own repository ('{name}')", where=locator.where, fix=fix)
