"""Dense features are computed once per tile: a store reads them from the cache and computes those that it lacks."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from aczerots.backbones.base import Backbone, DenseFeatures
from aczerots.backbones.loader import Pair, batch_size, embed_ahead
from aczerots.backbones.storage import SHARD, DamagedShardError, FeatureCache, Half, Shard, bytes_per_tile
from aczerots.errors import SettingsError
from aczerots.slides.base import Slide, Tile
from aczerots.storage.machine import physical_memory

Report = Callable[[int, int], None]

_MEMORY = 2 * 2**30


def tile_key(tile: Tile, slide: Slide) -> str:
    """Hex SHA-256 of what the backbone will see: pixels of the slide, window, and the size it is read at."""
    w = tile.window
    text = f"{slide.fingerprint}|{w.x},{w.y},{w.width},{w.height}|{tile.size}"
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class FillPlan:
    """What filling a store will take.

    Attributes:
        tiles: Tiles in all.
        missing: Different tiles that have to be embedded.
        size: Bytes that their features take.
        folder: Where they will be written; None holds them in memory.
    """

    tiles: int
    missing: int
    size: int
    folder: Path | None


class FeatureStore:
    """Dense features of an ordered list of tiles, read when they are asked for.

    Features that were used stay in memory as float16, up to a limit; then the longest unused go. A tile that the cache
    lacks, or whose shard is damaged, is computed and added to the cache. Without a cache everything stays in memory.
    The numbers are the same wherever they come from.

    Args:
        tiles: Tiles of one size.
        slides: Slides by id.
        backbone: Computes what is missing, on its own device.
        cache: Where features are kept; None keeps them in memory only.

    Raises:
        SettingsError: Tiles of different sizes, or the cache of another backbone.
        InputError: A slide cannot be read.
        StorageError: The cache cannot be read.
    """

    def __init__(
        self, tiles: Sequence[Tile], slides: Mapping[str, Slide], backbone: Backbone, cache: FeatureCache | None
    ) -> None:
        if len({t.size for t in tiles}) > 1:
            raise SettingsError("tiles of different sizes", fix="Embed tiles of one size per call")
        if cache is not None and cache.backbone_hash != backbone.info.hash:
            raise SettingsError("the cache belongs to another backbone", where=cache.folder)
        self._tiles, self._slides, self._backbone, self._cache = tiles, slides, backbone, cache
        self._cells = None if cache is None else cache.cells
        self._keys = [tile_key(t, slides[t.slide]) for t in tiles]
        # Equal pixels have equal keys and are computed once, though they may be several tiles.
        self._first: dict[str, int] = {}
        for i, key in enumerate(self._keys):
            self._first.setdefault(key, i)
        side = tiles[0].size if tiles else 1
        self._size = bytes_per_tile(backbone.info, side, self._cells)
        self._batch_size = batch_size(backbone.info, side, backbone.device)
        self._memory = memory_limit()
        # What fits is read a shard at a time, since the rest of a shard will be asked for too.
        self._fits = cache is None or self.size <= self._memory
        self._held: OrderedDict[str, Pair] = OrderedDict()
        self._places: dict[str, tuple[Shard, int]] = {}
        for shard in cache.shards(set(self._first)) if cache is not None else ():
            self._note(shard)

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self._keys)

    def __getitem__(self, index: Sequence[int]) -> DenseFeatures:
        """Features of the tiles at these positions, float32, on the CPU; ``aligned`` is of unit length again."""
        keys = [self._keys[i] for i in index]
        found = self._get(dict.fromkeys(keys))
        aligned = torch.from_numpy(np.stack([found[k][0] for k in keys])).float()
        layers = torch.from_numpy(np.stack([found[k][1] for k in keys])).float()
        return DenseFeatures(F.normalize(aligned, dim=1), layers)

    @property
    def cache(self) -> FeatureCache | None:
        """Where features are kept; None for memory only."""
        return self._cache

    @property
    def size(self) -> int:
        """Bytes that the features of all tiles take, equal tiles counted once."""
        return self._size * len(self._first)

    def plan(self) -> FillPlan:
        """What :meth:`fill` has to do for all tiles."""
        missing = len(self.missing())
        return FillPlan(len(self), missing, missing * self._size, None if self._cache is None else self._cache.folder)

    def missing(self) -> list[int]:
        """Positions of the tiles that :meth:`fill` has to compute, equal tiles once."""
        return [self._first[key] for key in self._missing(self._keys)]

    def fill(
        self, positions: Sequence[int] | None = None, progress: Report | None = None, *, shard: str | None = None
    ) -> None:
        """Compute what is missing of some tiles, or of all; finished tiles survive an interrupt.

        Args:
            positions: Which tiles; None takes all.
            progress: Called with (tiles finished, tiles in all).
            shard: Name of the one shard that these tiles become, for work that another process may have done
                already: where it is there nothing is computed.

        Raises:
            InputError: A slide cannot be read.
            StorageError: The disk has not the room, which is checked first, or cannot be written.
        """
        if shard is not None and self._cache is not None and self._cache.has(shard):
            return
        keys = self._keys if positions is None else [self._keys[i] for i in positions]
        todo = self._missing(keys)
        if self._cache is not None:
            self._cache.check_room(len(todo) * self._size)
        copies = Counter(keys)
        finished = len(keys) - sum(copies[key] for key in todo)
        if finished and progress:
            progress(finished, len(keys))
        with closing(self._compute(todo, shard)) as batches:
            for batch in batches:
                finished += sum(copies[key] for key in batch)
                if progress:
                    progress(finished, len(keys))

    def _missing(self, keys: Iterable[str]) -> list[str]:
        """Different keys that are neither in the cache nor in memory."""
        held = self._held if self._cache is None else {}
        return [k for k in dict.fromkeys(keys) if k not in self._places and k not in held]

    def _get(self, keys: Mapping[str, object]) -> dict[str, Pair]:
        """Features by key, from memory, else from disk, else computed."""
        found = {k: self._held[k] for k in keys if k in self._held}
        placed = sorted((k for k in keys if k not in found and k in self._places), key=self._order)
        for shard, group in groupby(placed, key=lambda k: self._places[k][0]):
            found |= self._read(shard, list(group))
        rest = [k for k in keys if k not in found]
        for start in range(0, len(rest), SHARD):
            part = rest[start : start + SHARD]
            for _ in self._compute(part):
                pass
            found |= {k: self._held[k] for k in part}
        for key in found:
            self._held[key] = found[key]
            self._held.move_to_end(key)
        self._evict(keep=0)
        return found

    def _order(self, key: str) -> tuple[str, int]:
        shard, row = self._places[key]
        return str(shard.path), row

    def _read(self, shard: Shard, keys: list[str]) -> dict[str, Pair]:
        """Features of some keys of a shard; empty if it turns out to be damaged, which drops it."""
        runs = [(0, len(shard.keys))] if self._fits else _runs([self._places[k][1] for k in keys])
        found: dict[str, Pair] = {}
        try:
            for start, stop in runs:
                aligned, layers = shard.read(slice(start, stop))
                named = zip(shard.keys[start:stop], aligned, layers, strict=True)
                found |= {k: self._own(a, x) for k, a, x in named if k in self._first}
        except DamagedShardError:
            if self._cache is not None:
                self._cache.drop(shard.path)
            self._places = {k: p for k, p in self._places.items() if p[0] is not shard}
            return {}
        if self._fits:
            self._held.update(found)
        return {k: found[k] for k in keys}

    def _compute(self, keys: Sequence[str], shard: str | None = None) -> Generator[Sequence[str]]:
        """Compute tiles and keep them, a shard at a time; yields the keys of each batch that is finished."""
        size = self._batch_size
        shards = [keys[i : i + SHARD] for i in range(0, len(keys), SHARD)]
        batches = [[part[i : i + size] for i in range(0, len(part), size)] for part in shards]
        tiles = [[self._tiles[self._first[k]] for k in batch] for batch in chain(*batches)]
        with closing(embed_ahead(tiles, self._slides, self._backbone, self._cells)) as features:
            for part in batches:
                rows: list[Pair] = []
                try:
                    for batch in part:
                        rows.append(next(features))
                        yield batch
                finally:
                    # An interrupt or an unreadable slide must not cost the tiles that are finished.
                    if rows:
                        self._keep(list(chain(*part[: len(rows)])), rows, shard)

    def _keep(self, keys: Sequence[str], rows: Sequence[Pair], shard: str | None) -> None:
        """Hold the features of batches of tiles and put them into the cache as one shard."""
        # In C order as they come from disk: sums over another order of memory differ in the last digits.
        aligned, layers = (np.ascontiguousarray(np.concatenate(c)) for c in zip(*rows, strict=True))
        self._held.update({k: self._own(a, x) for k, a, x in zip(keys, aligned, layers, strict=True)})
        if self._cache is not None:
            self._note(self._cache.put(keys, aligned, layers, shard))
            self._evict(keep=len(keys))

    def _own(self, aligned: Half, layers: Half) -> Pair:
        """Features of one tile; copied if the arrays they are part of must not stay in memory with them."""
        return (aligned, layers) if self._fits else (aligned.copy(), layers.copy())

    def _note(self, shard: Shard) -> None:
        """Remember where the tiles of a shard are."""
        for row, key in enumerate(shard.keys):
            if key in self._first:
                self._places.setdefault(key, (shard, row))

    def _evict(self, keep: int) -> None:
        """Forget the longest unused features beyond the memory limit; the last ``keep`` stay in any case."""
        if self._cache is None:
            return
        limit = max(keep, self._memory // max(self._size, 1))
        while len(self._held) > limit:
            self._held.popitem(last=False)


def memory_limit() -> int:
    """Bytes of features that a store holds: 2 GiB, or a quarter of the machine's memory if that is less."""
    physical = physical_memory()
    return _MEMORY if physical is None else min(_MEMORY, physical // 4)


def _runs(rows: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending rows as half-open ranges of neighbours."""
    runs: list[tuple[int, int]] = []
    for row in rows:
        if runs and runs[-1][1] == row:
            runs[-1] = (runs[-1][0], row + 1)
        else:
            runs.append((row, row + 1))
    return runs
