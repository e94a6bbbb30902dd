"""Dense features are computed once per tile: a store reads them from the cache and computes what is missing."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from aczerots.backbones.base import Backbone, DenseFeatures
from aczerots.backbones.loader import Pair, embed_ahead
from aczerots.backbones.loader import batch_size as batch_size_of
from aczerots.backbones.storage import SHARD, DamagedShardError, FeatureCache, Half, Shard, bytes_per_tile
from aczerots.errors import SettingsError
from aczerots.slides.base import Slide, Tile
from aczerots.storage.machine import physical_memory

Report = Callable[[int, int], None]

_MEMORY = 2 * 2**30
"""Bytes of grids that a store holds at most, if a quarter of the machine's memory is not less."""


def tile_key(tile: Tile, slide: Slide) -> str:
    """Hex SHA-256 of what the backbone will see: pixels of the slide, window, and the size it is read at."""
    w = tile.window
    text = f"{slide.fingerprint}|{w.x},{w.y},{w.width},{w.height}|{tile.size}"
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Plan:
    """What filling a store will take.

    Attributes:
        tiles: Tiles in all.
        missing: Different tiles that have to be embedded.
        size: Bytes that their grids take.
        folder: Where they will be written; None holds them in memory.
    """

    tiles: int
    missing: int
    size: int
    folder: Path | None


class FeatureStore:
    """DenseFeatures of an ordered list of tiles, read when they are asked for; the numbers do not depend on where from.

    DenseFeatures that were used stay in memory as float16, up to a limit; then the longest unused go. A tile that the
    cache lacks, or whose shard is damaged, is computed, and added to the cache. Without a cache everything
    stays in memory.

    Args:
        tiles: Tiles of one size.
        slides: Slides by id.
        backbone: Computes what is missing, on its own device.
        cache: Where grids are kept; None keeps them in memory only.
        batch_size: Tiles per forward pass; None takes what the backbone's device has the memory for.
        memory: Bytes of grids that may stay in memory; None takes 2 GiB or a quarter of the machine's.

    Raises:
        SettingsError: Tiles of different sizes, or the cache of another backbone.
        InputError: A slide cannot be read.
        StorageError: The cache cannot be read.
    """

    def __init__(
        self,
        tiles: Sequence[Tile],
        slides: Mapping[str, Slide],
        backbone: Backbone,
        cache: FeatureCache | None,
        *,
        batch_size: int | None = None,
        memory: int | None = None,
    ) -> None:
        _check(tiles, backbone, cache)
        self._tiles, self._slides, self._backbone, self._cache = tiles, slides, backbone, cache
        size = tiles[0].size if tiles else 1
        self._batch_size = batch_size or batch_size_of(backbone.info, size, backbone.device)
        self._memory = _default_memory() if memory is None else memory
        self._position = {t.id: i for i, t in enumerate(tiles)}
        self._keys = [tile_key(t, slides[t.slide]) for t in tiles]
        # Equal pixels have equal keys and are computed once, though they may be several tiles.
        self._first: dict[str, int] = {}
        for i, key in enumerate(self._keys):
            self._first.setdefault(key, i)
        cells = None if cache is None else cache.cells
        self._size = bytes_per_tile(backbone.info, tiles[0].size, cells) if tiles else 0
        # What fits is read a shard at a time, since the rest of a shard will be asked for too.
        self._fits = cache is None or self.size <= self._memory
        self._held: OrderedDict[str, Pair] = OrderedDict()
        self._places: dict[str, tuple[Shard, int]] = {}
        for shard in cache.shards(set(self._first)) if cache is not None else ():
            self._note(shard)

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self._position)

    def index(self, tile_id: str) -> int:
        """Position of a tile."""
        return self._position[tile_id]

    def __getitem__(self, index: Sequence[int]) -> DenseFeatures:
        """DenseFeatures of the tiles at these positions, float32, on the CPU; ``aligned`` is of unit length again.

        Raises:
            InputError: A slide cannot be read.
            StorageError: The cache cannot be read or written.
        """
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
        """Bytes that the grids of all tiles take, equal tiles counted once."""
        return self._size * len(self._first)

    def plan(self) -> Plan:
        """What :meth:`fill` has to do for all tiles."""
        missing = sum(1 for _ in self._missing(self._keys))
        return Plan(len(self), missing, missing * self._size, None if self._cache is None else self._cache.folder)

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
            StorageError: The disk has not the room, which is said before anything is computed, or cannot be
                written.
        """
        if shard is not None and self._cache is not None and self._cache.has(shard):
            return
        keys = self._keys if positions is None else [self._keys[i] for i in positions]
        todo = list(self._missing(keys))
        if self._cache is not None:
            self._cache.check_room(len(todo) * self._size)
        report = progress or _quiet
        missing = set(todo)
        finished = sum(k not in missing for k in keys)
        if finished and progress:
            report(finished, len(keys))
        copies = dict.fromkeys(todo, 0)
        for key in keys:
            if key in copies:
                copies[key] += 1
        with closing(self._embed(todo)) as grids:
            for start in range(0, len(todo), SHARD):
                for batch in self._compute(todo[start : start + SHARD], grids, shard):
                    finished += sum(copies[k] for k in batch)
                    report(finished, len(keys))

    def _missing(self, keys: Sequence[str]) -> Iterator[str]:
        """Different keys that are neither in the cache nor in memory."""
        held = self._held if self._cache is None else {}
        return (k for k in dict.fromkeys(keys) if k not in self._places and k not in held)

    def _get(self, keys: Mapping[str, object]) -> dict[str, Pair]:
        """DenseFeatures by key, from memory, else from disk, else computed."""
        found = {k: self._held[k] for k in keys if k in self._held}
        placed = sorted((k for k in keys if k not in found and k in self._places), key=self._order)
        for shard, group in groupby(placed, key=lambda k: self._places[k][0]):
            found |= self._read(shard, list(group))
        rest = [k for k in keys if k not in found]
        with closing(self._embed(rest)) as grids:
            for start in range(0, len(rest), SHARD):
                part = rest[start : start + SHARD]
                for _ in self._compute(part, grids):
                    pass
                found |= {k: self._held[k] for k in part}
                self._evict(keep=SHARD)
        for key in found:
            self._held[key] = found[key]
            self._held.move_to_end(key)
        self._evict(keep=0)
        return found

    def _order(self, key: str) -> tuple[str, int]:
        shard, row = self._places[key]
        return str(shard.path), row

    def _read(self, shard: Shard, keys: list[str]) -> dict[str, Pair]:
        """DenseFeatures of some keys of a shard; empty if it turns out to be damaged, which forgets and drops it."""
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

    def _batches(self, keys: Sequence[str]) -> list[list[str]]:
        """Keys in batches of which none crosses the border of a shard."""
        shards = (keys[i : i + SHARD] for i in range(0, len(keys), SHARD))
        return [list(s[i : i + self._batch_size]) for s in shards for i in range(0, len(s), self._batch_size)]

    def _embed(self, keys: Sequence[str]) -> Generator[Pair]:
        """DenseFeatures of each batch of keys, one after the other; the backbone does not wait for pixels."""
        batches = [[self._tiles[self._first[k]] for k in batch] for batch in self._batches(keys)]
        cells = None if self._cache is None else self._cache.cells
        return embed_ahead(batches, self._slides, self._backbone, cells)

    def _compute(self, keys: Sequence[str], grids: Iterator[Pair], shard: str | None = None) -> Iterator[list[str]]:
        """Take up to a shard of tiles from ``grids``, hold them and put them into the cache; yields each batch."""
        rows: list[Pair] = []
        done: list[str] = []
        try:
            for batch in self._batches(keys):
                rows.append(next(grids))
                done += batch
                yield batch
        finally:
            # An interrupt or an unreadable slide must not cost the tiles that are finished.
            if rows:
                # In C order as they come from disk: sums over another order of memory differ in the last digits.
                aligned, layers = (np.ascontiguousarray(np.concatenate(c)) for c in zip(*rows, strict=True))
                self._held.update({k: self._own(a, x) for k, a, x in zip(done, aligned, layers, strict=True)})
                if self._cache is not None:
                    self._note(self._cache.put(done, aligned, layers, shard))
                    self._evict(keep=len(done))

    def _own(self, aligned: Half, layers: Half) -> Pair:
        """DenseFeatures of one tile; copied if the arrays they are part of must not stay in memory with them."""
        return (aligned, layers) if self._fits else (aligned.copy(), layers.copy())

    def _note(self, shard: Shard) -> None:
        """Remember where the tiles of a shard are."""
        for row, key in enumerate(shard.keys):
            if key in self._first:
                self._places.setdefault(key, (shard, row))

    def _evict(self, keep: int) -> None:
        """Forget the longest unused grids beyond the memory limit; the last ``keep`` stay in any case."""
        if self._cache is None:
            return
        limit = max(keep, self._memory // max(self._size, 1))
        while len(self._held) > limit:
            self._held.popitem(last=False)


def embed_tiles(
    tiles: Sequence[Tile],
    slides: Mapping[str, Slide],
    backbone: Backbone,
    cache: FeatureCache | None,
    *,
    batch_size: int | None = None,
    progress: Report | None = None,
) -> FeatureStore:
    """A store of which every tile is computed; the arguments and errors are those of :class:`FeatureStore`.

    Args:
        tiles: Tiles of one size.
        slides: Slides by id.
        backbone: Computes what is missing, on its own device.
        cache: None computes everything and stores nothing.
        batch_size: Tiles per forward pass; None takes what the backbone's device has the memory for.
        progress: Called with (tiles finished, tiles in all).
    """
    store = FeatureStore(tiles, slides, backbone, cache, batch_size=batch_size)
    store.fill(progress=progress)
    return store


def _check(tiles: Sequence[Tile], backbone: Backbone, cache: FeatureCache | None) -> None:
    """Refuse what would end in a wrong or ragged table."""
    if len({t.size for t in tiles}) > 1:
        raise SettingsError("tiles of different sizes", fix="Embed tiles of one size per call")
    if cache is not None and cache.backbone_hash != backbone.info.hash:
        raise SettingsError("the cache belongs to another backbone", where=cache.folder)


def _runs(rows: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending rows as half-open ranges of neighbours."""
    runs: list[tuple[int, int]] = []
    for row in rows:
        if runs and runs[-1][1] == row:
            runs[-1] = (runs[-1][0], row + 1)
        else:
            runs.append((row, row + 1))
    return runs


def _default_memory() -> int:
    """Bytes of grids that may stay in memory."""
    physical = physical_memory()
    return _MEMORY if physical is None else min(_MEMORY, physical // 4)


def _quiet(finished: int, count: int) -> None:
    """Progress that nobody asked for."""
