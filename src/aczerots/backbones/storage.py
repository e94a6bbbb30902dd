"""Dense features on disk: shards of up to 64 tiles that several processes may write and read at the same time.

``<folder>/<backbone hash>/shard-<id>.zarr`` holds arrays ``aligned`` and ``layers`` in float16, each one file
with a checksum per tile, and the tiles' keys as an attribute. A shard is written under another name and renamed
when complete, so that killed or concurrent writers leave nothing half-written behind. Checksums are looked at
when a tile is read; a shard that cannot be read is dropped, and its tiles are computed again.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aczerots.backbones.base import BackboneInfo
from aczerots.errors import StorageError
from aczerots.storage.machine import free_space, size_text

Half = NDArray[np.float16]

SHARD = 64
"""Tiles per shard: what a kill can cost."""

CELLS = 4
"""Feature cells each way of a pooled tile: 16 regions per tile are the least that selection needs."""

_ABANDONED = 24 * 3600.0
_ARRAYS = ("aligned", "layers")


class DamagedShardError(Exception):
    """A shard cannot be read as it was written; the store catches this and computes its tiles again."""


@dataclass(frozen=True, eq=False)
class Shard:
    """A complete shard that is open for reading; holds no file handle.

    Attributes:
        path: Its folder.
        keys: Keys of its tiles in row order.
        arrays: zarr arrays ``aligned`` and ``layers``, float16 [len(keys), dim, gh, gw].
    """

    path: Path
    keys: tuple[str, ...]
    arrays: tuple[Any, Any]

    def read(self, rows: slice) -> tuple[Half, Half]:
        """Features of some consecutive tiles: aligned [k, d, gh, gw] and layers [k, d_v, gh, gw].

        Raises:
            DamagedShardError: Wrong checksum, or data that are gone.
            StorageError: No permission, too many open files, the disk fails: nothing says that it is damaged.
        """
        with _reading(self.path):
            aligned, layers = (np.asarray(array[rows]) for array in self.arrays)
            # zarr reads a file that is missing as zeros. Names are never used twice: there now means there then.
            if not all(_data_file(self.path, name).is_file() for name in _ARRAYS):
                raise FileNotFoundError(self.path)
        return aligned, layers


class FeatureCache:
    """Cached features of one backbone.

    Args:
        folder: Root of the cache; shared by all backbones.
        info: Facts about the backbone; their hash keys the cache.
        cells: None keeps all features; a number keeps them pooled to at most that many cells each way.
    """

    def __init__(self, folder: Path, info: BackboneInfo, cells: int | None = None) -> None:
        self.backbone_hash = info.hash
        self.cells = cells
        self.folder = folder / (info.hash if cells is None else f"{info.hash}-{cells}x{cells}")
        self.dropped = 0

    def shards(self, keys: set[str]) -> list[Shard]:
        """Open shards that hold any of ``keys``; each key is looked for once. Damaged ones are dropped."""
        self._tidy()
        missing, found = set(keys), []
        for path in sorted(self.folder.glob("shard-*.zarr")):
            if not missing:
                break
            shard = self._open(path)
            if shard is not None and not missing.isdisjoint(shard.keys):
                missing -= set(shard.keys)
                found.append(shard)
        return found

    def _open(self, path: Path) -> Shard | None:
        """A shard without its data; None if it is damaged, which drops it."""
        import zarr

        try:
            with _reading(path):
                group: Any = zarr.open_group(path, mode="r")
                keys = tuple(group.attrs["keys"])
                arrays = tuple(group[name] for name in _ARRAYS)
                for name, array in zip(_ARRAYS, arrays, strict=True):
                    if array.dtype != np.float16 or array.ndim != 4 or array.shape[0] != len(keys):
                        raise ValueError(name)
                    if not _data_file(path, name).is_file():
                        raise FileNotFoundError(name)
        except DamagedShardError:
            self.drop(path)
            return None
        return Shard(path, keys, (arrays[0], arrays[1]))

    def drop(self, path: Path) -> None:
        """Remove a damaged shard."""
        self.dropped += 1
        shutil.rmtree(path, ignore_errors=True)

    def has(self, name: str) -> bool:
        """Whether there is a shard of that name."""
        return self._path(name).is_dir()

    def _path(self, name: str) -> Path:
        return self.folder / f"shard-{name}.zarr"

    def put(self, keys: Sequence[str], aligned: Half, layers: Half, name: str | None = None) -> Shard:
        """Add tiles as one shard and return it, open; if that fails nothing half-written stays.

        Args:
            keys: Keys of the tiles.
            aligned: Float16 [len(keys), d, gh, gw].
            layers: Float16 [len(keys), d_v, gh, gw].
            name: Of the shard, for tiles that another process may be adding under the same name: the first one to
                finish stays. Names must not be used again for other tiles. None takes a new one.
        """
        import zarr
        from zarr.codecs import Crc32cCodec

        temporary, final = self.folder / f"writing-{uuid.uuid4().hex}.zarr", self._path(name or uuid.uuid4().hex)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            group = zarr.open_group(temporary, mode="w-")
            for label, array in zip(_ARRAYS, (aligned, layers), strict=True):
                # One chunk per tile: a fit asks for single tiles in random order.
                group.create_array(
                    label,
                    data=array,
                    chunks=(1, *array.shape[1:]),
                    shards=array.shape,
                    compressors=Crc32cCodec(),
                    config={"write_empty_chunks": True},
                )
            group.attrs["keys"] = list(keys)
            if not final.is_dir():
                _rename(temporary, final)
            written: Any = zarr.open_group(final, mode="r")
            return Shard(final, tuple(keys), (written["aligned"], written["layers"]))
        except OSError as error:
            fix = "Free some space, or set ACZEROTS_CACHE to another folder"
            raise StorageError(f"cannot write the cache: {error.strerror}", where=self.folder, fix=fix) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def check_room(self, size: int) -> None:
        """Refuse to write more bytes than the disk has free."""
        free = free_space(self.folder)
        if size > free:
            fix = "Use --cache pooled or off, a smaller dataset, or set ACZEROTS_CACHE to a folder on another disk"
            what = f"the cache needs {size_text(size)} for these features, and {size_text(free)} are free"
            raise StorageError(what, where=self.folder, fix=fix)

    def _tidy(self) -> None:
        """Remove what killed writers left behind more than a day ago; a living writer takes seconds."""
        for path in self.folder.glob("writing-*.zarr"):
            with suppress(FileNotFoundError):  # its writer has just finished
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    shutil.rmtree(path, ignore_errors=True)


def _rename(temporary: Path, final: Path) -> None:
    """Give a complete shard its name, unless another process has just done that."""
    try:
        temporary.rename(final)
    except OSError:
        if not final.is_dir():
            raise


def bytes_per_tile(info: BackboneInfo, size: int, cells: int | None = None) -> int:
    """Bytes that the features of a tile of ``size`` pixels take, without checksums; ``cells`` as in the cache."""
    side = -(-size // info.stride)
    side = side if cells is None else min(side, cells)
    return 2 * (info.dim + info.layer_dim) * side * side


def _data_file(path: Path, name: str) -> Path:
    return path / name / "c" / "0" / "0" / "0" / "0"


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Tells a damaged shard from one that cannot be read now.

    A shard is complete when it gets its name; one that is not whole was damaged afterwards.
    """
    try:
        yield
    except (FileNotFoundError, ValueError, LookupError, TypeError, RuntimeError) as error:
        raise DamagedShardError(str(path)) from error
    except OSError as error:
        fix = "Check the disk and its permissions, or set ACZEROTS_CACHE to another folder"
        raise StorageError(f"cannot read the cache: {error.strerror}", where=path, fix=fix) from error
