"""Fills the cache for a dataset before anybody waits for it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aczerots.backbones.cache import FeatureStore
from aczerots.backbones.locate import locate_backbone, locate_device
from aczerots.backbones.options import BackboneOptions
from aczerots.backbones.storage import CELLS, SHARD, FeatureCache
from aczerots.config import SimulateSettings, cache_folder
from aczerots.datasets.locate import locate_dataset
from aczerots.engine.base import Engine, Failure, Job
from aczerots.engine.local import HereEngine
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import AczerotsError, SettingsError
from aczerots.storage.machine import free_space, size_text


@dataclass(frozen=True)
class Embedded:
    """What filling the cache did.

    Attributes:
        tiles: Tiles of the dataset.
        computed: Different tiles that were computed now; the others were there.
        size: Bytes that the grids of all of them take.
        folder: Where the grids are.
    """

    tiles: int
    computed: int
    size: int
    folder: Path


def embed_dataset(
    settings: SimulateSettings,
    *,
    device: str = "cpu",
    compiled: bool = False,
    trust_remote_code: bool = False,
    cache: Path | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Embedded:
    """Compute the grids that a run with these settings needs and the cache lacks; goes on after an interrupt.

    Args:
        settings: Dataset, backbone, tile size and cache mode count. ``dense`` fills whole grids of all tiles,
            ``pooled`` coarse grids of the pool and whole grids of the test part.
        device: Where to compute without an engine of several workers.
        compiled: Compile the backbone.
        trust_remote_code: Let the backbone's repository run Python code it brings along.
        cache: Folder of cached grids, one that all workers see; None takes the user's cache folder.
        engine: Where to compute; None takes this process.
        progress: Receives progress.

    Raises:
        InputError: Bad images, splits or weights.
        SettingsError: Unknown dataset kind or backbone, or the mode ``off``.
        StorageError: The disk has not the room, or cannot be written.
    """
    if settings.cache == "off":
        raise SettingsError("there is nothing to fill with 'off'", where="--cache", fix="Use dense or pooled")
    engine = engine or HereEngine(device)
    root = (cache or cache_folder()).absolute()
    job = DatasetJob(settings, str(root), compiled, trust_remote_code)
    # Other workers do the work; here only the facts of the backbone are needed.
    return spread(job.stores(device if engine.here else "cpu"), job, engine, progress or Silent())


Stores = tuple[tuple[FeatureStore, FeatureCache], ...]
"""Stores and the caches that they are over."""


@dataclass(frozen=True)
class EmbedUnit:
    """Tiles that become one shard.

    Attributes:
        store: Which of the job's stores.
        positions: Which tiles of it.
        shard: Name of the shard.
    """

    store: int
    positions: tuple[int, ...]
    shard: str


@dataclass(frozen=True)
class DatasetJob:
    """Filling the cache for a dataset; satisfies :class:`~aczerots.engine.base.Job`.

    Attributes:
        settings: See :func:`embed_dataset`.
        cache: Folder of cached grids.
        compiled: Compile the backbone.
        trust_remote_code: Let the backbone's repository run Python code it brings along.
    """

    settings: SimulateSettings
    cache: str
    compiled: bool = False
    trust_remote_code: bool = False

    def stores(self, device: str) -> Stores:
        """Open backbone, dataset and cache. Errors are those of :func:`embed_dataset`."""
        settings = self.settings
        data, tile_size, root = locate_dataset(settings.dataset), settings.tile_size, Path(self.cache)
        options = BackboneOptions(settings.refine_with, settings.precision, self.compiled, self.trust_remote_code)
        model = locate_backbone(settings.backbone, locate_device(device), options)
        slides = {s.slide.id: s.slide for s in data.samples}
        pool = FeatureCache(root, model.info, None if settings.cache == "dense" else CELLS)
        test = FeatureCache(root, model.info)
        return (
            (FeatureStore(data.tiles("train", tile_size), slides, model, pool), pool),
            (FeatureStore(data.tiles("test", tile_size), slides, model, test), test),
        )

    def open(self, device: str) -> Callable[[EmbedUnit], None]:
        """See :class:`~aczerots.engine.base.Job`."""
        return filler(self.stores(device))


def filler(stores: Stores) -> Callable[[EmbedUnit], None]:
    """A function that does units on these stores."""

    def fill(unit: EmbedUnit) -> None:
        stores[unit.store][0].fill(unit.positions, shard=unit.shard)

    return fill


def spread(stores: Stores, job: Job[EmbedUnit, None], engine: Engine, progress: Progress) -> Embedded:
    """Fill stores on an engine; in this process if that is where the engine works.

    Raises:
        AczerotsError: As :func:`fill_stores`; what can be computed is computed before.
    """
    if engine.here:
        return fill_stores([store for store, _ in stores], stores[0][1], progress)
    done = _begun([store for store, _ in stores], stores[0][1], progress)
    run = uuid.uuid4().hex
    units: list[EmbedUnit] = []
    for number, (store, _) in enumerate(stores):
        missing = store.missing()
        for start in range(0, len(missing), SHARD):
            units.append(EmbedUnit(number, tuple(missing[start : start + SHARD]), f"{run}-{len(units)}"))
    finished = done.tiles - done.computed
    failures: list[Failure] = []

    def ended(unit: EmbedUnit, outcome: Failure | None) -> list[EmbedUnit]:
        nonlocal finished
        if outcome is not None:
            failures.append(outcome)
        finished += len(unit.positions)
        progress.step("embed", finished, done.tiles)
        return []

    engine.run(job, units, ended)
    if failures:
        more = f" ({len(failures)} of {len(units)} shards failed)" if len(failures) > 1 else ""
        raise AczerotsError(failures[0].reason + more)
    return done


def fill_stores(stores: Sequence[FeatureStore], cache: FeatureCache, progress: Progress) -> Embedded:
    """Compute what the cache lacks of several stores, after a check that there is room.

    Args:
        stores: Stores over caches in one folder.
        cache: The first of these caches.
        progress: Receives progress.

    Raises:
        InputError: A slide cannot be read.
        StorageError: The disk has not the room, or cannot be written.
    """
    done = _begun(stores, cache, progress)
    finished = 0
    for store in stores:
        store.fill(progress=partial(_step, progress, finished, done.tiles))
        finished += len(store)
    return done


def _begun(stores: Sequence[FeatureStore], cache: FeatureCache, progress: Progress) -> Embedded:
    """What filling will do, told and checked that there is room."""
    plans = [store.plan() for store in stores]
    tiles, missing = sum(p.tiles for p in plans), sum(p.missing for p in plans)
    if missing:
        size = sum(p.size for p in plans)
        free = size_text(free_space(cache.folder))
        progress.say(f"embed: {missing} of {tiles} tiles to compute, {size_text(size)} in {cache.folder}, {free} free")
        cache.check_room(size)
    return Embedded(tiles, missing, sum(store.size for store in stores), cache.folder)


def _step(progress: Progress, before: int, tiles: int, done: int, _count: int) -> None:
    """Count over both parts."""
    progress.step("embed", before + done, tiles)
