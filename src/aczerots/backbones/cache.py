"""Grids are computed once per tile, ever: a zarr cache keyed by tile content and backbone.

``<folder>/<backbone hash>/shard-<id>.zarr`` holds up to 64 tiles: arrays ``aligned`` and ``layers`` in float16,
each one file with a checksum per chunk, and the tiles' keys as an attribute. A shard is written under another
name and renamed when complete, so that killed or concurrent writers leave nothing half-written behind; a
shard that cannot be read is dropped and its tiles are computed again.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aczerots.backbones.base import Backbone, Grids
from aczerots.errors import SettingsError, StorageError
from aczerots.slides.base import Slide, Tile

Half = NDArray[np.float16]

_SHARD = 64  # what a kill can cost
_CHUNK = 16


def tile_key(tile: Tile, slide: Slide) -> str:
    """Hex SHA-256 of what the backbone will see: pixels of the slide, window, and the size it is read at."""
    w = tile.window
    text = f"{slide.fingerprint}|{w.x},{w.y},{w.width},{w.height}|{tile.size}"
    return hashlib.sha256(text.encode()).hexdigest()


class GridStore:
    """Grids of an ordered list of tiles, held as float16.

    Args:
        tiles: The tiles.
        aligned: Float16 [n, d, gh, gw].
        layers: Float16 [n, d_v, gh, gw].
    """

    def __init__(self, tiles: Sequence[Tile], aligned: Half, layers: Half) -> None:
        self.aligned, self.layers = aligned, layers
        self._position = {t.id: i for i, t in enumerate(tiles)}

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self._position)

    def index(self, tile_id: str) -> int:
        """Position of a tile."""
        return self._position[tile_id]

    def __getitem__(self, index: Sequence[int]) -> Grids:
        """Grids of the tiles at these positions, float32, on the CPU; ``aligned`` is of unit length again."""
        rows = list(index)
        aligned = torch.from_numpy(self.aligned[rows]).float()
        layers = torch.from_numpy(self.layers[rows]).float()
        return Grids(torch.nn.functional.normalize(aligned, dim=1), layers)


class GridCache:
    """Cached grids of one backbone.

    Args:
        folder: Root of the cache; shared by all backbones.
        backbone: Whose grids.
    """

    def __init__(self, folder: Path, backbone: Backbone) -> None:
        self.backbone_hash = backbone.info.hash
        self.folder = folder / self.backbone_hash
        self.dropped = 0

    def find(self, keys: set[str]) -> Iterator[tuple[list[str], Half, Half]]:
        """Cached tiles among ``keys``.

        Yields:
            Per shard: keys, aligned [k, d, gh, gw], layers [k, d_v, gh, gw].

        Raises:
            StorageError: No permission, or the disk fails.
        """
        missing = set(keys)
        for path in sorted(self.folder.glob("shard-*.zarr")):
            found = self._read(path, missing)
            if found is not None:
                missing -= set(found[0])
                yield found
            if not missing:
                return

    def _read(self, path: Path, wanted: set[str]) -> tuple[list[str], Half, Half] | None:
        """The wanted tiles of a shard; None if it has none or is damaged."""
        import zarr

        try:
            group: Any = zarr.open_group(path, mode="r")
            stored: list[str] = list(group.attrs["keys"])
            rows = [i for i, k in enumerate(stored) if k in wanted]
            if not rows:
                return None
            arrays = [_whole(path, group, name, len(stored)) for name in ("aligned", "layers")]
        except (FileNotFoundError, ValueError, LookupError, TypeError, RuntimeError):
            # A shard is complete when it gets its name; one that is not whole was damaged afterwards.
            self.dropped += 1
            shutil.rmtree(path, ignore_errors=True)
            return None
        except OSError as error:
            # No permission, too many open files, a disk that fails: nothing says that the shard is damaged.
            fix = "Check the disk and its permissions, or set ACZEROTS_CACHE to another folder"
            raise StorageError(f"cannot read the cache: {error.strerror}", where=path, fix=fix) from error
        aligned, layers = (array[rows] for array in arrays)
        return [stored[i] for i in rows], aligned, layers

    def put(self, keys: Sequence[str], aligned: Half, layers: Half) -> None:
        """Add tiles.

        Raises:
            StorageError: Disk full or no permission; nothing half-written stays.
        """
        import zarr
        from zarr.codecs import Crc32cCodec

        name = uuid.uuid4().hex
        temporary, final = self.folder / f"writing-{name}.zarr", self.folder / f"shard-{name}.zarr"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            group = zarr.open_group(temporary, mode="w-")
            for label, array in (("aligned", aligned), ("layers", layers)):
                count = -(-len(array) // _CHUNK) * _CHUNK
                group.create_array(
                    label,
                    data=array,
                    chunks=(_CHUNK, *array.shape[1:]),
                    shards=(count, *array.shape[1:]),
                    compressors=Crc32cCodec(),
                )
            group.attrs["keys"] = list(keys)
            temporary.rename(final)
        except OSError as error:
            fix = "Free some space, or set ACZEROTS_CACHE to another folder"
            raise StorageError(f"cannot write the cache: {error.strerror}", where=self.folder, fix=fix) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def embed_tiles(
    tiles: Sequence[Tile],
    slides: Mapping[str, Slide],
    backbone: Backbone,
    cache: GridCache | None,
    *,
    batch_size: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> GridStore:
    """Grids of tiles, from the cache where it has them; the numbers do not depend on whether it does.

    Args:
        tiles: Tiles of one size.
        slides: Slides by id.
        backbone: Computes what is missing, on its own device.
        cache: None computes everything and stores nothing.
        batch_size: Tiles per forward pass.
        progress: Called with (tiles finished, tiles in all).

    Raises:
        SettingsError: Tiles of different sizes, or the cache of another backbone.
        InputError: A slide cannot be read.
        StorageError: The cache cannot be written or read.
    """
    _check(tiles, backbone, cache)
    keys = [tile_key(t, slides[t.slide]) for t in tiles]
    # Equal pixels have equal keys and are computed once, though they may be several tiles.
    positions: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        positions.setdefault(key, []).append(i)
    table = _Table(len(tiles))
    if cache is not None:
        for found, aligned, layers in cache.find(set(keys)):
            table.fill([positions.pop(k) for k in found], aligned, layers)
    todo = list(positions)
    finished = len(tiles) - sum(len(p) for p in positions.values())
    report = progress or _quiet
    if finished:
        report(finished, len(tiles))
    for start in range(0, len(todo), _SHARD):
        part = todo[start : start + _SHARD]
        rows: list[tuple[Half, Half]] = []
        try:
            for first in range(0, len(part), batch_size):
                batch = part[first : first + batch_size]
                rows.append(_compute([tiles[positions[k][0]] for k in batch], slides, backbone))
                finished += sum(len(positions[k]) for k in batch)
                report(finished, len(tiles))
        finally:
            # An interrupt or an unreadable slide must not cost the tiles that are finished.
            if rows:
                aligned, layers = (np.concatenate(column) for column in zip(*rows, strict=True))
                done = part[: len(aligned)]
                table.fill([positions[k] for k in done], aligned, layers)
                if cache is not None:
                    cache.put(done, aligned, layers)
    return GridStore(tiles, table.aligned, table.layers)


def _check(tiles: Sequence[Tile], backbone: Backbone, cache: GridCache | None) -> None:
    """Refuse what would end in a wrong or ragged table."""
    if len({t.size for t in tiles}) > 1:
        raise SettingsError("tiles of different sizes", fix="Embed tiles of one size per call")
    if cache is not None and cache.backbone_hash != backbone.info.hash:
        raise SettingsError("the cache belongs to another backbone", where=cache.folder)


def _quiet(finished: int, count: int) -> None:
    """Progress that nobody asked for."""


def _whole(path: Path, group: Any, name: str, count: int) -> Half:
    """An array of a shard, float16 [count, dim, gh, gw].

    Raises:
        ValueError: Not the array that was written.
        FileNotFoundError: Its data are gone.
    """
    # zarr reads a file that is missing as zeros, because it need not write chunks that are empty.
    if not (path / name / "c" / "0" / "0" / "0" / "0").is_file():
        raise FileNotFoundError(name)
    array = np.asarray(group[name][:])
    if array.dtype != np.float16 or array.ndim != 4 or len(array) != count:
        raise ValueError(name)
    return array


class _Table:
    """Result arrays, made when the first rows show their shape."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.aligned: Half = np.zeros((0, 0, 0, 0), dtype=np.float16)
        self.layers: Half = np.zeros((0, 0, 0, 0), dtype=np.float16)

    def fill(self, positions: Sequence[Sequence[int]], aligned: Half, layers: Half) -> None:
        """Copy row i to all of ``positions[i]``."""
        if self.aligned.size == 0:
            self.aligned = np.empty((self.count, *aligned.shape[1:]), dtype=np.float16)
            self.layers = np.empty((self.count, *layers.shape[1:]), dtype=np.float16)
        for i, targets in enumerate(positions):
            self.aligned[list(targets)] = aligned[i]
            self.layers[list(targets)] = layers[i]


@torch.no_grad()
def _compute(tiles: Sequence[Tile], slides: Mapping[str, Slide], backbone: Backbone) -> tuple[Half, Half]:
    """Grids of a few tiles as float16."""
    pixels = np.stack([slides[t.slide].read(t.window, (t.size, t.size)) for t in tiles])
    grids = backbone.encode_image(torch.from_numpy(pixels).movedim(-1, 1).contiguous())
    return _half(grids.aligned), _half(grids.layers)


def _half(x: torch.Tensor) -> Any:
    """Float16 copy on the CPU; values beyond its range are clipped, not turned into infinity."""
    limit = float(torch.finfo(torch.float16).max)
    return x.clamp(-limit, limit).half().cpu().numpy()
