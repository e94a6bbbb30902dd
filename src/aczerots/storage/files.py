"""Writes files so that they are complete or absent, even after a kill or on a full disk."""

from __future__ import annotations

import errno
import math
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aczerots.errors import StorageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def _storage_error(error: OSError, path: Path) -> StorageError:
    """The error of the system as one for the user, with a way out."""
    if error.errno in _FULL:
        fix = "Free some space or write to another disk"
    elif error.errno in _FORBIDDEN:
        fix = "Choose a folder that you may write to"
    elif error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST):
        fix = "A file and a folder of the same name are in each other's way; choose another name"
    else:
        fix = "Check the disk, or write to another one"
    return StorageError(f"cannot write: {error.strerror or error}", where=path, fix=fix)


def _sync(path: Path) -> None:
    """Make what was written to a file, or renamed inside a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give an empty temporary file to fill, and move it to ``path`` when the block ends without an error.

    The temporary file lies in the same folder, because only a rename inside one file system is atomic. Its name ends in
    ``.tmp``: tell libraries that read the format from the name. After an error ``path`` is as before. Missing folders
    above ``path`` are made.

    Raises:
        StorageError: Disk full, no permission, read-only disk, a folder in the way. An ``OSError`` that names another
            file than the temporary one is not about writing and is raised as it is.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise _storage_error(error, path) from error
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        if os.name == "posix":
            _sync(path.parent)
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)) in (temporary, path, path.parent):
            raise _storage_error(error, path) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write or replace a file with ``content`` by :func:`atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_text_atomic(path: Path, content: str) -> None:
    """Write or replace a UTF-8 file with ``content``, newlines as they are, by :func:`atomic_write`."""
    write_bytes_atomic(path, content.encode())


def make_folder(path: Path) -> None:
    """Make a folder with its parents, if it is not there.

    Raises:
        StorageError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"cannot make the folder: {error.strerror}"
        raise StorageError(what, where=path, fix="Choose another --out") from error


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Lock an existing folder, so that no other process writes results to it. The lock always ends with the process.

    Raises:
        StorageError: Another process holds it, or no file can be written there.
    """
    # Imported here because every command imports this module and few need a lock.
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        fix = "Wait for it, or choose another --out"
        raise StorageError("another process is at work in this folder", where=folder, fix=fix) from None
    except OSError as error:
        raise _storage_error(error, folder) from error
    try:
        yield
    finally:
        lock.release()


def scratch_array(shape: tuple[int, ...], dtype: str, folder: Path | None) -> NDArray[Any]:
    """A temporary array of zeros: in memory, or a memory map of an unnamed file that goes with the array.

    The file lies in ``folder``, which is made if missing; None takes memory.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    import numpy as np

    if folder is None:
        return np.zeros(shape, dtype)
    size = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
    try:
        make_folder(folder)
        with tempfile.TemporaryFile(dir=folder, prefix="scratch-") as file:
            # Without room on the disk, writing to the memory map would kill the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype=dtype, mode="r+" if hasattr(os, "posix_fallocate") else "w+", shape=shape)
    except OSError as error:
        raise _storage_error(error, folder) from error
