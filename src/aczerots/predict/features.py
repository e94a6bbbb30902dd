"""Features of windows: computed when they are needed, or kept so that every model of a run finds them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import torch
import torch.nn.functional as F

from aczerots.backbones.base import Backbone, DenseFeatures
from aczerots.backbones.cache import FeatureStore
from aczerots.backbones.loader import batch_size, embed_ahead
from aczerots.backbones.storage import FeatureCache
from aczerots.predict.blend import WindowFeatures, windows_of
from aczerots.predict.windows import feature_windows, slide_backbone
from aczerots.slides.base import Box, Slide, Tile
from aczerots.slides.tissue import find_tissue

_BATCH = 8

Batch = tuple[Sequence[Tile], DenseFeatures]


def computed(backbone: Backbone, slide: Slide, rim: int) -> WindowFeatures:
    """Features of windows of a slide, computed each time they are asked for.

    Args:
        backbone: As it is to see the windows (:func:`slide_backbone`).
        slide: The slide.
        rim: Rim of the windows in cells; those with a rim are large.
    """

    def batches(tiles: Sequence[Tile]) -> Generator[Batch]:
        number = window_batch(backbone, tiles[0].size, rim)
        parts = [tiles[i : i + number] for i in range(0, len(tiles), number)]
        with closing(embed_ahead(parts, {slide.id: slide}, backbone, None)) as pairs:
            for part, (aligned, layers) in zip(parts, pairs, strict=True):
                # As from the cache: half precision, unit length again.
                unit = F.normalize(torch.from_numpy(aligned).float(), dim=1)
                yield part, DenseFeatures(unit, torch.from_numpy(layers).float())

    return batches


def window_batch(backbone: Backbone, size: int, rim: int) -> int:
    """Windows of ``size`` pixels a side per forward pass; on a processor fewer of those with a rim, which are large."""
    number = batch_size(backbone.info, size, backbone.device)
    return number if rim == 0 or backbone.device.type != "cpu" else max(1, number * 224**2 // size**2)


class StoredWindows:
    """Windows of slides with their features, embedded once for all models on a backbone.

    Args:
        backbone: The backbone.
        slides: The slides.
        tile_size: Side in pixels of the tiles that models are fitted on.
        mpp: Micrometres per pixel to read at; None reads level-0 pixels as they are.
        cache: Folder of cached features; None keeps them in memory.
        boxes: Level-0 boxes of each slide that will be asked for; None keeps the windows of whole slides.

    Raises:
        InputError: A slide cannot be read, or states no resolution and ``mpp`` is given.
    """

    def __init__(
        self,
        backbone: Backbone,
        slides: Sequence[Slide],
        tile_size: int,
        mpp: float | None,
        cache: Path | None,
        boxes: Mapping[str, Sequence[Box]] | None = None,
    ) -> None:
        self.stores: list[FeatureStore] = []
        self._place: dict[Tile, tuple[FeatureStore, int]] = {}
        plain: list[Tile] = []
        for slide in slides:
            plan = feature_windows(backbone, slide, tile_size, mpp)
            wanted = [Box(0, 0, *slide.size)] if boxes is None else boxes.get(slide.id, ())
            places = dict.fromkeys(place for box in wanted for place in windows_of(plan, plan.map_box(box)))
            tiles = [plan.window(*place) for place in places]
            if plan.rim and tiles:
                stained = slide_backbone(backbone, slide, plan, find_tissue(slide))
                self._add(tiles, {slide.id: slide}, stained, cache)
            else:
                plain += tiles
        if plain:
            self._add(plain, {slide.id: slide for slide in slides}, backbone, cache)

    def _add(self, tiles: list[Tile], slides: Mapping[str, Slide], backbone: Backbone, cache: Path | None) -> None:
        store = FeatureStore(tiles, slides, backbone, None if cache is None else FeatureCache(cache, backbone.info))
        self.stores.append(store)
        self._place |= {tile: (store, i) for i, tile in enumerate(tiles)}

    def __call__(self, tiles: Sequence[Tile]) -> Generator[Batch]:
        """Features of windows of one slide, in batches; what is in no cache yet is computed now."""
        for start in range(0, len(tiles), _BATCH):
            part = tiles[start : start + _BATCH]
            store = self._place[part[0]][0]
            yield part, store[[self._place[tile][1] for tile in part]]
