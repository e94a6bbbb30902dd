"""Which windows of a slide a model reads, and the backbone as it sees them."""

from __future__ import annotations

import math

import numpy as np

from aczerots.backbones.base import Backbone
from aczerots.backbones.embedded import EmbeddedBackbone
from aczerots.backbones.loader import read_tiles
from aczerots.slides.base import Box, Slide, Tile
from aczerots.slides.image import ImageSlide
from aczerots.slides.tissue import TissueMask
from aczerots.slides.windows import OVERLAP, TIFF_TILE, WindowPlan, plan_windows

SAMPLE = 32
"""Tiles of a slide that its stain is measured on, at most."""

_TILE = 224


def feature_windows(
    backbone: Backbone,
    slide: Slide,
    tile_size: int,
    mpp: float | None,
    *,
    overlap: float | None = None,
    shift: tuple[int, int] = (0, 0),
) -> WindowPlan:
    """The windows of a slide in feature cells of the backbone; they are the same for every model on that backbone.

    Plain images, and slides of at most :data:`TIFF_TILE` pixels a side, are read in windows of the tile size that
    overlap by :data:`OVERLAP`. Larger slides are read in large windows with a rim if the backbone is the built-in
    one: their cells see all the pixels that they need, so that the map does not show where windows lie. The middle of
    such a window is a tile of the files that are written, which chunks are made of. One cell around it serves to
    interpolate and is shared with the next window; the rim around that is dropped.

    Args:
        backbone: The backbone.
        slide: The slide.
        tile_size: Side in pixels of the tiles that the model was fitted on.
        mpp: Micrometres per pixel to read at; None reads level-0 pixels as they are.
        overlap: Fraction of its side that a window has in common with the next; None takes the rule above.
        shift: Map pixels (x, y) by which the windows are moved, for measuring how much it matters where they lie.

    Raises:
        InputError: The slide states no resolution and ``mpp`` is given.
    """
    stride = backbone.info.stride
    # A rim would be larger than a small slide.
    small = isinstance(slide, ImageSlide) or max(slide.size) <= TIFF_TILE
    if overlap is None and isinstance(backbone, EmbeddedBackbone) and not small:
        tile = TIFF_TILE + 2 * stride
        rim, shared = round(backbone.reach / stride), 2 * stride / tile
        cells = math.ceil(tile / stride)
        return plan_windows(slide, tile, cells, mpp, chunk=TIFF_TILE, overlap=shared, shift=shift, rim=rim)
    overlap = OVERLAP if overlap is None else overlap
    cells = math.ceil(tile_size / stride)
    return plan_windows(slide, tile_size, cells, mpp, chunk=TIFF_TILE, overlap=overlap, shift=shift)


def slide_backbone(backbone: Backbone, slide: Slide, plan: WindowPlan, tissue: TissueMask) -> Backbone:
    """The backbone as it is to see the windows of a plan: with the stain of the slide if they have a rim.

    Args:
        backbone: As it sees a tile alone.
        slide: The slide.
        plan: Its windows.
        tissue: Where its tissue is.

    Raises:
        InputError: The slide cannot be read.
    """
    if not plan.rim or not isinstance(backbone, EmbeddedBackbone):
        return backbone
    return backbone.on_slide(read_tiles(sample_tiles(slide, plan, tissue), {slide.id: slide}))


def sample_tiles(slide: Slide, plan: WindowPlan, tissue: TissueMask) -> list[Tile]:
    """Tiles spread evenly over the tissue, or over the slide if it has none; the windows of the plan do not matter.

    One for every second that would cover the tissue, at most :data:`SAMPLE`.
    """
    mask = tissue.mask if tissue.mask.any() else np.ones_like(tissue.mask)
    rows, columns = np.nonzero(mask)
    side = round(_TILE * plan.scale)
    area = mask.mean() * slide.size[0] * slide.size[1]
    number = int(np.clip(np.ceil(area / side**2 / 2), 1, min(SAMPLE, len(rows))))
    # In reading order: every part of the tissue has its share.
    places = ((np.arange(number) + 0.5) / number * len(rows)).astype(np.intp)
    centres = zip(columns[places] + 0.5, rows[places] + 0.5, strict=True)
    scale = [s / m for s, m in zip(slide.size, mask.shape[::-1], strict=True)]
    boxes = [Box(round(x * scale[0] - side / 2), round(y * scale[1] - side / 2), side, side) for x, y in centres]
    return [Tile(slide.id, box, box, _TILE, plan.mpp) for box in boxes]
