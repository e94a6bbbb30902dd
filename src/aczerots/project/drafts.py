"""The model's proposals for tiles, as masks and as GeoJSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.raster import vectorise
from aczerots.annotation.store.records import NewDraft
from aczerots.engine.progress import Progress
from aczerots.loop.embed import fill_features
from aczerots.loop.pool import Pool
from aczerots.predict.features import StoredWindows
from aczerots.predict.segmenter import Segmenter
from aczerots.prozs.model import ProZS
from aczerots.slides.base import Box, Tile
from aczerots.slides.labelled import TissueRule
from aczerots.taxonomy import IGNORE, Taxonomy


def make_drafts(
    model: ProZS, pool: Pool, positions: Sequence[int], name: str, tissue: TissueRule, cache: Path, progress: Progress
) -> list[NewDraft]:
    """What the model sees in some tiles of the pool, as ``predict`` would deliver it.

    Args:
        model: The model.
        pool: The pool.
        positions: Tiles.
        name: What the drafts are marked with.
        tissue: Says what gets a class.
        cache: Folder of cached features.
        progress: Receives progress.
    """
    windows = tile_windows(pool, positions, cache, progress)
    segmenter = Segmenter(model, pool.card(name, 0), pool.backbone)
    out = []
    for position in positions:
        tile = pool.tiles[position]
        slide = pool.slides[tile.slide]
        mask = np.full((tile.size, tile.size), IGNORE, dtype=np.uint8)
        mask[tile.inner] = segmenter.tile_labels(tile, slide, windows, tissue.mask(slide))
        out.append(NewDraft(position, mask, draft_geometry(mask, tile, pool.taxonomy), name))
    return out


def tile_windows(pool: Pool, positions: Sequence[int], cache: Path, progress: Progress) -> StoredWindows:
    """The windows that decide what a map shows in some tiles of the pool, with their features."""
    boxes: dict[str, list[Box]] = {}
    for position in positions:
        boxes.setdefault(pool.tiles[position].slide, []).append(pool.tiles[position].box)
    slides = [pool.slides[slide] for slide in boxes]
    windows = StoredWindows(pool.backbone, slides, pool.tiles[0].size, pool.mpp, cache, boxes)
    if windows.stores:
        fill_features(windows.stores, progress, stage="embed windows")
    return windows


def draft_geometry(mask: NDArray[np.uint8], tile: Tile, taxonomy: Taxonomy) -> dict[str, Any]:
    """A FeatureCollection in level-0 pixels: a multipolygon per class, with its name, colour and label id."""
    from shapely.geometry import MultiPolygon, mapping

    regions = vectorise(mask, tile.window)
    features = []
    for label, tissue in enumerate(taxonomy.classes):
        parts = [polygon for found, polygon in regions if found == label]
        if parts:
            properties = {"label": label, "classification": {"name": tissue.name, "color": list(tissue.color)}}
            geometry = mapping(MultiPolygon(parts))
            features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return {"type": "FeatureCollection", "features": features}
