"""Fills the cache for a dataset before anybody waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aczerots.backbones.cache import GridStore
from aczerots.backbones.locate import locate_backbone
from aczerots.backbones.storage import CELLS, GridCache
from aczerots.config import cache_folder
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
    dataset: str,
    *,
    backbone: str = "embedded",
    tile_size: int = 224,
    mode: str = "dense",
    device: str = "cpu",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Embedded:
    """Compute the grids of all tiles of a dataset that the cache lacks; an interrupted call goes on from there.

    Args:
        dataset: Dataset locator.
        backbone: Backbone locator.
        tile_size: Side of a tile in pixels.
        mode: ``dense`` fills whole grids of all tiles, as ``simulate`` uses them. ``pooled`` fills coarse grids of
            the pool and whole grids of the test part, as ``simulate --cache pooled`` does.
        device: Where to compute.
        cache: Folder of cached grids; None takes the user's cache folder.
        progress: Receives progress.

    Raises:
        InputError: Bad images, splits or weights.
        SettingsError: Unknown dataset kind, backbone or mode.
        StorageError: The disk has not the room, or cannot be written.
    """
    progress = progress or Silent()
    if mode not in {"dense", "pooled"}:
        raise SettingsError(f"there is no '{mode}' to fill", where="--cache", fix="Use dense or pooled")
    data = locate_dataset(dataset)
    model = locate_backbone(backbone, device)
    slides = {s.slide.id: s.slide for s in data.samples}
    root = cache or cache_folder()
    pool = GridCache(root, model.info, None if mode == "dense" else CELLS)
    test = GridCache(root, model.info)
    stores = (
        GridStore(data.tiles("train", tile_size), slides, model, pool),
        GridStore(data.tiles("test", tile_size), slides, model, test),
    )
    plans = [store.plan() for store in stores]
    tiles, missing = sum(p.tiles for p in plans), sum(p.missing for p in plans)
    if missing:
        size = sum(p.size for p in plans)
        free = size_text(free_space(pool.folder))
        progress.say(f"embed: {missing} of {tiles} tiles to compute, {size_text(size)} in {pool.folder}, {free} free")
        pool.check_room(size)
    finished = 0
    for store in stores:
        store.fill(progress=partial(_step, progress, finished, tiles))
        finished += len(store)
    return Embedded(tiles, missing, sum(store.size for store in stores), pool.folder)


def _step(progress: Progress, before: int, tiles: int, done: int, _count: int) -> None:
    """Count over both parts."""
    progress.step("embed", before + done, tiles)
