"""Fills the cache for a dataset before anybody waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aczerots.backbones.cache import GridStore
from aczerots.backbones.locate import locate_backbone
from aczerots.backbones.options import BackboneOptions
from aczerots.backbones.storage import CELLS, GridCache
from aczerots.config import SimulateSettings, cache_folder
from aczerots.datasets.locate import locate_dataset
from aczerots.errors import SettingsError
from aczerots.machine import free_space, size_text
from aczerots.progress import Progress, Silent


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
    progress: Progress | None = None,
) -> Embedded:
    """Compute the grids that a run with these settings needs and the cache lacks; goes on after an interrupt.

    Args:
        settings: Dataset, backbone, tile size and cache mode count. ``dense`` fills whole grids of all tiles,
            ``pooled`` coarse grids of the pool and whole grids of the test part.
        device: Where to compute.
        compiled: Compile the backbone.
        trust_remote_code: Let the backbone's repository run Python code it brings along.
        cache: Folder of cached grids; None takes the user's cache folder.
        progress: Receives progress.

    Raises:
        InputError: Bad images, splits or weights.
        SettingsError: Unknown dataset kind or backbone, or the mode ``off``.
        StorageError: The disk has not the room, or cannot be written.
    """
    progress = progress or Silent()
    if settings.cache == "off":
        raise SettingsError("there is nothing to fill with 'off'", where="--cache", fix="Use dense or pooled")
    data, tile_size = locate_dataset(settings.dataset), settings.tile_size
    options = BackboneOptions(settings.refine_with, settings.precision, compiled, trust_remote_code)
    model = locate_backbone(settings.backbone, device, options)
    slides = {s.slide.id: s.slide for s in data.samples}
    root = cache or cache_folder()
    pool = GridCache(root, model.info, None if settings.cache == "dense" else CELLS)
    test = GridCache(root, model.info)
    stores = (
        GridStore(data.tiles("train", tile_size), slides, model, pool),
        GridStore(data.tiles("test", tile_size), slides, model, test),
    )
    return fill_stores(stores, pool, progress)


def fill_stores(stores: Sequence[GridStore], cache: GridCache, progress: Progress) -> Embedded:
    """Compute what the cache lacks of several stores, after a check that there is room.

    Args:
        stores: Stores over caches in one folder.
        cache: The first of these caches.
        progress: Receives progress.

    Raises:
        InputError: A slide cannot be read.
        StorageError: The disk has not the room, or cannot be written.
    """
    plans = [store.plan() for store in stores]
    tiles, missing = sum(p.tiles for p in plans), sum(p.missing for p in plans)
    if missing:
        size = sum(p.size for p in plans)
        free = size_text(free_space(cache.folder))
        progress.say(f"embed: {missing} of {tiles} tiles to compute, {size_text(size)} in {cache.folder}, {free} free")
        cache.check_room(size)
    finished = 0
    for store in stores:
        store.fill(progress=partial(_step, progress, finished, tiles))
        finished += len(store)
    return Embedded(tiles, missing, sum(store.size for store in stores), cache.folder)


def _step(progress: Progress, before: int, tiles: int, done: int, _count: int) -> None:
    """Count over both parts."""
    progress.step("embed", before + done, tiles)
