"""Slides and results in S3 and other remote file systems of fsspec, through copies on the local disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from aczerots.errors import AczerotsError, InputError, StorageError, extra_needed
from aczerots.storage.files import atomic_write
from aczerots.storage.machine import free_space, size_text

_OBJECTS = {"s3", "s3a", "gs", "gcs", "abfs", "az", "adl", "memory"}
"""Protocols whose files appear whole or not at all; elsewhere files get a temporary name first."""

_FIX = "Check the URL, the credentials, and that the server can be reached"


def is_url(place: str | Path) -> bool:
    """Whether a place is a URL such as ``s3://bucket/prefix``, not a path."""
    return "://" in str(place)


def absolute(place: str | Path) -> str:
    """A path made absolute, so that any process of the machine understands it; other URLs than ``file://`` stay."""
    text = str(place)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    return text if is_url(text) else str(Path(text).expanduser().absolute())


def name_of(place: str | Path) -> str:
    """Name of the file at a place."""
    return str(place).rstrip("/").rsplit("/", 1)[-1] if is_url(place) else Path(place).name


def scratch_folder() -> Path:
    """Folder for temporary copies: ``$ACZEROTS_SCRATCH``, else one in the system's folder for temporary files."""
    return Path(os.environ.get("ACZEROTS_SCRATCH") or Path(tempfile.gettempdir()) / "aczerots-scratch")


@final
class OutFolder:
    """A folder for results: work is done in ``local``, and what is to last is kept by name.

    Without a URL ``local`` is the folder itself: what is written there is kept. Behind a URL a file appears when all of
    it has arrived: object stores have no half-written objects; elsewhere it is uploaded under another name and renamed.
    Every method raises a StorageError if the server fails.

    Attributes:
        local: Where to write and read: a folder of this machine or one that all machines see; with a URL, for copies.
        place: Path or URL (``s3://bucket/prefix``) that the user knows.

    Raises:
        MissingExtraError: The library for this protocol is not installed.
    """

    def __init__(self, local: Path, url: str | None = None) -> None:
        self.local = local
        self.place = str(local) if url is None else url.rstrip("/")
        self._files: Any = None
        if url is not None:
            self._files, self._root = _filesystem(self.place)

    def has(self, name: str) -> bool:
        """Whether a file or folder of that name is kept."""
        if self._files is None:
            return (self.local / name).exists()
        with _translated(self.place):
            return bool(self._files.exists(f"{self._root}/{name}"))

    def fetch(self, name: str) -> None:
        """Make what is kept under that name, if anything, readable in ``local``."""
        if self._files is None:
            return
        with _translated(self.place):
            try:
                found: list[str] = self._files.find(f"{self._root}/{name}")
            except FileNotFoundError:
                found = []
            for path in found:
                target = self.local / path.removeprefix(self._root).lstrip("/")
                if not target.exists():
                    with atomic_write(target) as temporary:
                        self._files.get_file(path, str(temporary))

    def keep(self, name: str) -> None:
        """Keep a file or folder that was written to ``local``."""
        if self._files is None:
            return
        source = self.local / name
        files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
        with _translated(self.place):
            for file in files:
                self._upload(file, f"{self._root}/{file.relative_to(self.local).as_posix()}")

    def _upload(self, file: Path, target: str) -> None:
        if _protocols(self._files) & _OBJECTS:
            self._files.put_file(str(file), target)
            return
        folder, _, name = target.rpartition("/")
        self._files.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{name}.{os.getpid()}.tmp"
        self._files.put_file(str(file), temporary)
        self._files.mv(temporary, target)

    def drop(self, name: str) -> None:
        """Remove a file or folder from what is kept."""
        _remove(self.local / name)
        if self._files is not None:
            with _translated(self.place):
                if self._files.exists(f"{self._root}/{name}"):
                    self._files.rm(f"{self._root}/{name}", recursive=True)

    def release(self, name: str) -> None:
        """Remove the copy in ``local`` of what is kept behind a URL, to make room."""
        if self._files is not None:
            _remove(self.local / name)


def open_folder(place: str) -> OutFolder:
    """The folder at a path or URL; copies of a URL's files lie in the scratch folder.

    Raises:
        MissingExtraError: The library for this protocol is not installed.
    """
    if not is_url(place):
        return OutFolder(Path(place))
    name = hashlib.sha256(place.encode()).hexdigest()[:16]
    return OutFolder(scratch_folder() / f"out-{name}", place)


def matching(pattern: str) -> list[str]:
    """URLs of the files that a pattern such as ``s3://lab/slides/*.svs`` names, in order of name.

    Raises:
        InputError: No such protocol, or the server cannot be reached.
        MissingExtraError: The library for this protocol is not installed.
    """
    files, root = _filesystem(pattern)
    with _translated(pattern, InputError):
        return sorted(files.unstrip_protocol(name) for name in files.glob(root) if files.isfile(name))


def copy_slide(place: str, folder: Path) -> Path:
    """Copy a slide from a URL to a folder, with the files that belong to it.

    Raises:
        InputError: It is not there, or the server does not deliver it.
        StorageError: The disk is too full for it.
        MissingExtraError: The library for this protocol is not installed.
    """
    files, root = _filesystem(place)
    try:
        with _translated(place, InputError):
            names = _belonging(files, root)
            need = sum(int(files.size(name) or 0) for name in names)
            if need > free_space(folder):
                fix = f"Make room in {folder}, or choose another disk (ACZEROTS_SCRATCH for copies that go)"
                what = f"a copy takes {size_text(need)}, and {size_text(free_space(folder))} are free"
                raise StorageError(what, where=place, fix=fix)
            parent = root.rpartition("/")[0]
            for name in names:
                target = folder / name.removeprefix(parent).lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                files.get_file(name, str(target))
    except FileNotFoundError:
        raise InputError("the file is missing", where=place) from None
    return folder / name_of(place)


class SlideFetcher:
    """Copies of slides from URLs on the local disk: one at a time, so that the disk does not have to hold the batch.

    Slides are copied whole, because OpenSlide reads local files only. Each process has a folder of its own, which is
    removed when it ends.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._held: tuple[str, Path] | None = None

    def fetch(self, place: str) -> Path:
        """A file of this machine with the slide at a path or URL; paths stay as they are.

        Of slides that are folders (MRXS, DICOM) give one of their files; the others are copied with it.

        Raises:
            InputError, StorageError, MissingExtraError: As :func:`copy_slide`.
        """
        if not is_url(place):
            return Path(place)
        if self._held is not None and self._held[0] == place:
            return self._held[1]
        if self._folder is None:
            scratch_folder().mkdir(parents=True, exist_ok=True)
            _tidy(scratch_folder())
            self._folder = Path(tempfile.mkdtemp(prefix=f"slides-{os.getpid()}-", dir=scratch_folder()))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._held = None
        for old in self._folder.iterdir():
            _remove(old)
        path = copy_slide(place, self._folder)
        self._held = place, path
        return path


def _tidy(folder: Path) -> None:
    """Remove the copies of processes that were killed."""
    for path in folder.glob("slides-*-*"):
        try:
            os.kill(int(path.name.split("-")[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(path, ignore_errors=True)
        except (PermissionError, ValueError):  # of another user, or not ours
            continue


def _belonging(files: Any, root: str) -> list[str]:
    """The files of a slide: MRXS has a folder beside the file, DICOM other files beside it."""
    if not files.exists(root):
        raise FileNotFoundError(root)
    parent, _, name = root.rpartition("/")
    if name.lower().endswith(".mrxs"):
        inner = root[: -len(".mrxs")]
        return [root, *(files.find(inner) if files.exists(inner) else [])]
    if name.lower().endswith(".dcm"):
        return [root, *(f for f in files.ls(parent, detail=False) if f.lower().endswith(".dcm") and f != root)]
    return [root]


def _filesystem(url: str) -> tuple[Any, str]:
    """The file system of fsspec for a URL, and the path in it.

    Raises:
        MissingExtraError: The library for this protocol is not installed.
        InputError: No such protocol.
    """
    try:
        with extra_needed("remote", f"reading {url}"):
            import fsspec

            files, root = fsspec.core.url_to_fs(url)
    except ValueError as error:
        raise InputError(f"the URL cannot be used ({error})", where=url) from error
    return files, str(root).rstrip("/")


def _protocols(files: Any) -> set[str]:
    return {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)


@contextmanager
def _translated(where: str, kind: type[AczerotsError] = StorageError) -> Iterator[None]:
    """Errors of servers become ours; a missing file passes through."""
    known: tuple[type[Exception], ...] = (OSError, *_client_errors())
    try:
        yield
    except FileNotFoundError:
        raise
    except known as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise kind(f"cannot be reached ({reason})", where=where, fix=_FIX) from error


def _client_errors() -> tuple[type[Exception], ...]:
    """What clients of S3 raise besides OSError; empty where no such client is installed."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return ()
    return BotoCoreError, ClientError


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
