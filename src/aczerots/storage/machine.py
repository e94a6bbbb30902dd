"""Cores, memory and disk space of the machine, and sizes as people read them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aczerots.errors import StorageError

_MEMINFO = Path("/proc/meminfo")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> int:
    """Processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def physical_memory() -> int | None:
    """Bytes of memory in the machine, None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None


def available_memory() -> int | None:
    """Bytes of memory that programs can still get, None where the system does not say."""
    try:
        text = _MEMINFO.read_text(encoding="ascii")
    except OSError:  # only Linux says it in a file
        return None
    found = re.search(r"^MemAvailable:\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def free_space(path: Path) -> int:
    """Free bytes on the disk where ``path`` is, or would be.

    Raises:
        StorageError: The disk does not say.
    """
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    try:
        return shutil.disk_usage(there).free
    except OSError as error:
        raise StorageError(f"cannot ask for the free space: {error.strerror}", where=path) from error


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder; 0 if it is not there. Files that vanish meanwhile do not count."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).lstat().st_size
            except FileNotFoundError:  # another process has just removed it
                continue
    return total


def size_text(size: float) -> str:
    """A number of bytes as people read it: ``812 B``, ``3.4 MB``, ``52 GB`` (powers of 1000, as disks are sold)."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 9.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


@contextmanager
def few_threads(threads: int) -> Iterator[None]:
    """Set how many threads child processes and libraries imported meanwhile use, through environment variables."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
