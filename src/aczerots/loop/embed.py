"""Fills the cache of dense features: the one way to do it, and the command ``embed`` for a dataset."""

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
from aczerots.engine.base import Engine, Failure
from aczerots.engine.local import HereEngine
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import AczerotsError, SettingsError
from aczerots.predict.features import StoredWindows
from aczerots.slides.tiling import common_mpp
from aczerots.storage.machine import available_memory, free_space, size_text

Stores = Sequence[FeatureStore]


@dataclass(frozen=True)
class Embedded:
    """What filling the cache did.

    Attributes:
        tiles: Tiles in all.
        computed: Different tiles that were computed now; the others were there.
        size: Bytes that the features of all of them take.
        folder: Where the features are; None for memory.
    """

    tiles: int
    computed: int
    size: int
    folder: Path | None


@dataclass(frozen=True)
class EmbedUnit:
    """Tiles at some positions of one of the job's stores, which become the shard of that name."""

    store: int
    positions: tuple[int, ...]
    shard: str


@dataclass(frozen=True)
class EmbedJob:
    """Filling stores; satisfies :class:`~aczerots.engine.base.Job`.

    ``stores`` opens them on a device; it must be a function that can be sent to another process.
    """

    stores: Callable[[str], Stores]

    def open(self, device: str) -> Callable[[EmbedUnit], None]:
        """Open backbone, slides and cache once per worker."""
        stores = self.stores(device)

        def fill(unit: EmbedUnit) -> None:
            stores[unit.store].fill(unit.positions, shard=unit.shard)

        return fill


def fill_features(
    stores: Stores,
    progress: Progress,
    *,
    stage: str = "embed",
    engine: Engine | None = None,
    job: EmbedJob | None = None,
) -> Embedded:
    """Compute the features that stores lack; says before it starts what that takes, and that there is room.

    Args:
        stores: Stores over one cache folder, or all without a cache.
        progress: Receives progress.
        stage: What progress calls it.
        engine: Where to compute; None takes this process.
        job: Opens the same stores in the engine's workers; needed if there are any.

    Raises:
        InputError: A slide cannot be read.
        SettingsError: The memory has not the room, where features are kept there.
        StorageError: The disk has not the room, or cannot be written.
        AczerotsError: Units failed on the engine; the others are done.
    """
    done = _announce(stores, progress, stage)
    if job is None or engine is None or engine.here:
        before = 0
        for store in stores:
            store.fill(progress=partial(_step, progress, stage, before, done.tiles))
            before += len(store)
    elif done.computed:
        _fill_on(engine, job, stores, done, lambda count: progress.step(stage, count, done.tiles))
    return done


def _announce(stores: Stores, progress: Progress, stage: str) -> Embedded:
    """What filling will do; told, and checked that there is room."""
    plans = [store.plan() for store in stores]
    tiles, missing, size = sum(p.tiles for p in plans), sum(p.missing for p in plans), sum(p.size for p in plans)
    folder, cache = plans[0].folder, stores[0].cache
    if missing:
        where = "in memory" if folder is None else f"in {folder}, {size_text(free_space(folder))} free"
        progress.say(f"{stage}: {missing} of {tiles} tiles to compute, {size_text(size)} {where}")
    if cache is not None:
        cache.check_room(size)
    elif (memory := available_memory()) is not None and size > memory:
        what = f"the features need {size_text(size)} of memory, {size_text(memory)} are free"
        raise SettingsError(what, where="--cache", fix="Use --cache dense or pooled")
    return Embedded(tiles, missing, sum(store.size for store in stores), folder)


def _step(progress: Progress, stage: str, before: int, tiles: int, done: int, _of_store: int) -> None:
    """Count over all stores."""
    progress.step(stage, before + done, tiles)


def _fill_on(engine: Engine, job: EmbedJob, stores: Stores, done: Embedded, step: Callable[[int], None]) -> None:
    """Fill stores on an engine, a shard per unit; ``step`` is told how many tiles are there."""
    run = uuid.uuid4().hex
    units: list[EmbedUnit] = []
    for number, store in enumerate(stores):
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
        step(finished)
        return []

    engine.run(job, units, ended)
    if failures:
        more = f" ({len(failures)} of {len(units)} shards failed)" if len(failures) > 1 else ""
        raise AczerotsError(failures[0].reason + more)


def embed_with(
    open_stores: Callable[[str], Stores], device: str, engine: Engine | None, progress: Progress | None
) -> Embedded:
    """Fill the stores that a function opens, here or on an engine; the errors are those of :func:`fill_features`."""
    engine = engine or HereEngine(device)
    # Other workers do the work; here only the backbone's facts are needed.
    stores = open_stores(device if engine.here else "cpu")
    return fill_features(stores, progress or Silent(), engine=engine, job=EmbedJob(open_stores))


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
    """Compute the features that a run with these settings needs and the cache lacks; goes on after an interrupt.

    Args:
        settings: Dataset, backbone, tile size and cache mode count. ``dense`` computes full features of all tiles,
            ``pooled`` coarse ones of the pool and full ones of the test part.
        device: Where to compute without an engine of several workers.
        compiled: Compile the backbone.
        trust_remote_code: Let the backbone's repository run Python code it brings along.
        cache: Folder of cached features, one that all workers see; None takes the user's cache folder.
        engine: Where to compute; None takes this process.
        progress: Receives progress.

    Raises:
        InputError: Bad images, splits or weights.
        SettingsError: Unknown dataset kind or backbone, or the mode ``off``.
        StorageError: The disk has not the room, or cannot be written.
    """
    if settings.cache == "off":
        raise SettingsError("there is nothing to fill with 'off'", where="--cache", fix="Use dense or pooled")
    options = BackboneOptions(settings.refine_with, settings.precision, compiled, trust_remote_code)
    root = (cache or cache_folder()).absolute()
    return embed_with(partial(dataset_stores, settings, options, root), device, engine, progress)


def dataset_stores(settings: SimulateSettings, options: BackboneOptions, cache: Path, device: str) -> Stores:
    """The stores of a dataset's pool and of the windows of its test part, as a run opens them."""
    data = locate_dataset(settings.dataset)
    model = locate_backbone(settings.backbone, locate_device(device), options)
    slides = {s.slide.id: s.slide for s in data.samples}
    tiles = data.tiles("train", settings.tile_size)
    pool = FeatureCache(cache, model.info, None if settings.cache == "dense" else CELLS)
    test = [s.slide for s in data.samples if s.split == "test"]
    windows = StoredWindows(model, test, settings.tile_size, common_mpp(tiles), cache)
    return (FeatureStore(tiles, slides, model, pool), *windows.stores)
