"""Where the files of a model are, a folder or a snapshot of a hub, and which revision they have."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from aczerots.backbones.locator import Locator
from aczerots.errors import InputError

_HEX_DIGITS = (64, 40)
"""Lengths of SHA-256 and SHA-1 in hexadecimal."""


def locate_files(locator: Locator, used: Sequence[str]) -> tuple[Path, str]:
    """Find the folder of a model, downloading it if need be.

    Args:
        locator: Its source is a folder, or a hub id, the latter with or without a revision.
        used: Patterns of the files that can change an embedding; nothing else is downloaded or hashed.

    Returns:
        (folder, revision): the commit hash of a hub id, ``sha256:`` of the names and contents of all files
        used for a folder.

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
    check_downloaded(folder, before, locator.where)
    return folder


def check_downloaded(folder: Path, before: Container[Path], where: str) -> None:
    """Compare what was just downloaded with the hashes that the hub says; a wrong file is removed.

    In the hub's cache a file is a link to a blob that is named by the hub's tag for it: the SHA-256 of a large
    file, and what git calls a small one, the SHA-1 of ``blob SIZE``, a zero byte and the content.

    Args:
        folder: The snapshot.
        before: Blobs that were there before, and were looked at then.
        where: For messages.

    Raises:
        InputError: A file is not what the hub says it is.
    """
    for path in sorted(p for p in folder.rglob("*") if p.is_symlink()):
        blob = path.resolve()
        if blob in before or not blob.is_file() or len(blob.name) not in _HEX_DIGITS:
            continue
        found = _tag(blob)
        if found != blob.name:
            path.unlink()
            blob.unlink()
            what = f"{path.name} was damaged on the way: its hash is {found[:12]}..., the hub says {blob.name[:12]}..."
            raise InputError(what, where=where, fix="It was removed; run the same command again")


def _tag(blob: Path) -> str:
    """The hash of a file, of the kind that its name is: SHA-256, or SHA-1 as git has it."""
    with blob.open("rb") as file:
        if len(blob.name) == _HEX_DIGITS[0]:
            return hashlib.file_digest(file, "sha256").hexdigest()
        git = hashlib.sha1(b"blob %d\0" % blob.stat().st_size, usedforsecurity=False)
        return hashlib.file_digest(file, lambda: git).hexdigest()
