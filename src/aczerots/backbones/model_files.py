"""Finds the files of a model, in a folder or a repository of a hub, and the revision that they have."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pickle
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from aczerots.backbones.locator import Locator
from aczerots.errors import InputError, MissingExtraError

_HEX_DIGITS = (64, 40)
"""Lengths of SHA-256 and SHA-1 in hexadecimal."""

_BAD_FILES = (OSError, RuntimeError, ValueError, KeyError, TypeError, AssertionError, EOFError)


def need(extra: str, modules: Sequence[str], locator: Locator) -> None:
    """Refuse to go on without the libraries of an extra (MissingExtraError)."""
    if any(importlib.util.find_spec(module) is None for module in modules):
        raise MissingExtraError(extra, f"the backbone '{locator.where}'")


def locate_files(locator: Locator, used: Sequence[str]) -> tuple[Path, str]:
    """Find the folder of a model; a hub id is downloaded if need be.

    Args:
        locator: Its source is a folder, or a hub id, the latter with or without a revision.
        used: Patterns of the files that can change an embedding; nothing else is downloaded or hashed.

    Returns:
        (folder, revision): the commit hash of a hub id; for a folder ``sha256:`` of the names and contents of all files
        used.

    Raises:
        InputError: No such folder or id, hub not reachable, access refused.
    """
    folder = Path(locator.source).expanduser()
    if folder.is_dir():
        return folder, f"sha256:{_content_hash(folder, used)}"
    if locator.is_folder:
        fix = "Give the folder of a model, or its hub id"
        raise InputError("is not a folder", where=locator.where, fix=fix)
    folder = _download(locator, used)
    return folder, folder.name


def find_model(locator: Locator, weights: Sequence[str], others: Sequence[str]) -> tuple[Path, str, Path]:
    """Folder, revision and weights of a model; of several forms of the weights only one is downloaded.

    Args:
        locator: Its source is a folder or a hub id, with or without ``hf-hub:`` before it.
        weights: Names that the file of weights may have, best first.
        others: Patterns of the other files that can change an embedding.

    Returns:
        (folder, revision, weights): the first two as :func:`locate_files` gives them.

    Raises:
        InputError: As in :func:`locate_files`, or there are no weights.
    """
    plain = replace(locator, source=locator.name)
    for name in weights:
        folder, revision = locate_files(plain, (name, *others))
        if (folder / name).is_file():
            return folder, revision, folder / name
        if not plain.is_folder:
            plain = replace(plain, revision=revision)  # what is asked for next is of the same commit
    raise InputError("has no weights", where=locator.where, fix=f"Expected {' or '.join(weights)} in {folder}")


def first_file(folder: Path, names: Sequence[str], locator: Locator, what: str) -> Path:
    """The first of some files that a folder has; refuses a folder with none of them."""
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise InputError(f"has no {what}", where=locator.where, fix=f"Expected {' or '.join(names)} in {folder}")
    return found


@contextmanager
def loading(locator: Locator, *more: type[Exception]) -> Iterator[None]:
    """All that bad weights or a bad configuration make a library fail with becomes an InputError.

    Args:
        locator: For messages.
        more: Kinds of errors besides the usual ones.
    """
    kinds: tuple[type[Exception], ...] = (*_BAD_FILES, *more)
    try:
        yield
    except pickle.UnpicklingError as error:
        fix = "They may run code when they are read, so they are not; convert them to safetensors"
        raise InputError("the weights hold more than tensors", where=locator.where, fix=fix) from error
    except kinds as error:
        text = " ".join(str(error).split())
        missing = re.search(r'Missing key\(s\) in state_dict: "([^"]+)"', text)
        what = f"the weights have no tensor {missing[1]}" if missing else f"cannot be loaded: {text[:400]}"
        raise InputError(what, where=locator.where) from error


def _content_hash(folder: Path, used: Sequence[str]) -> str:
    """SHA-256 over names and contents of the files used, as 64 hex digits."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in used for path in folder.glob(pattern) if path.is_file()}):
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _download(locator: Locator, used: Sequence[str]) -> Path:
    """Snapshot of a hub id in the hub's own cache, named by its commit hash; works offline if cached."""
    hub: Any = importlib.import_module("huggingface_hub")
    errors: Any = importlib.import_module("huggingface_hub.errors")
    constants: Any = importlib.import_module("huggingface_hub.constants")
    name, revision = locator.source, locator.revision
    page = f"https://huggingface.co/{name}"
    known = {  # a refused access is also a model not found: the special case first
        errors.HFValidationError: ("is neither a folder nor a hub id", "A hub id looks like vinid/plip"),
        errors.GatedRepoError: ("access is refused", f"Accept its terms at {page}, then run: hf auth login"),
        errors.RevisionNotFoundError: (f"has no revision '{revision}'", f"They are listed at {page}/commits"),
        errors.RepositoryNotFoundError: ("no such model, or private", "Check the id, or run: hf auth login"),
    }
    unreachable = "cannot be downloaded and is not in the local cache"
    advice = "Check the connection to huggingface.co and the disk space, or give a local folder"
    if constants.HF_HUB_OFFLINE:
        advice = "Downloads are switched off: unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE, or give a local folder"
    store = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "blobs"
    before = set(store.glob("*"))
    try:
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=list(used)))
    # The bases of the hub's error: OSError, and the base error of whichever HTTP library this version uses.
    except (errors.HFValidationError, *errors.HfHubHTTPError.__bases__) as error:
        what, fix = next((said for kind, said in known.items() if isinstance(error, kind)), (unreachable, advice))
        raise InputError(what, where=locator.where, fix=fix) from error
    _check_downloaded(folder, before, locator.where)
    return folder


def _check_downloaded(folder: Path, before: Container[Path], where: str) -> None:
    """Refuse and remove a new file of a snapshot whose hash is not the hub's; files in ``before`` were checked then.

    In the hub's cache a file is a link to a blob that is named by its hash: SHA-256 for large files, git's SHA-1 for
    small ones.
    """
    for path in sorted(p for p in folder.rglob("*") if p.is_symlink()):
        blob = path.resolve()
        if blob in before or not blob.is_file() or len(blob.name) not in _HEX_DIGITS:
            continue
        found = _blob_hash(blob)
        if found != blob.name:
            path.unlink()
            blob.unlink()
            what = f"{path.name} was damaged on the way: its hash is {found[:12]}..., the hub says {blob.name[:12]}..."
            raise InputError(what, where=where, fix="It was removed; run the same command again")


def _blob_hash(blob: Path) -> str:
    """SHA-256 of a file, or git's SHA-1 if its name has that length: of ``blob SIZE``, a zero byte and the content."""
    with blob.open("rb") as file:
        if len(blob.name) == _HEX_DIGITS[0]:
            return hashlib.file_digest(file, "sha256").hexdigest()
        git = hashlib.sha1(b"blob %d\0" % blob.stat().st_size, usedforsecurity=False)
        return hashlib.file_digest(file, lambda: git).hexdigest()
