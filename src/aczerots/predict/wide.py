"""A slide as one picture, for backbones that can see it so: large windows, one stain."""

from __future__ import annotations

import numpy as np

from aczerots.backbones.base import Backbone, SlideBackbone
from aczerots.backbones.loader import read_tiles
from aczerots.predict.blend import chunk_side, output_cells
from aczerots.prozs.checkpoint import ModelCard
from aczerots.prozs.model import ProZS
from aczerots.slides.base import Box, Slide, Tile
from aczerots.slides.tissue import TissueMask
from aczerots.slides.windows import TIFF_TILE, WindowPlan, plan_windows

SAMPLE = 32
"""Tiles of a slide that its stain is measured on, at most."""

_TILE = 224


def wide_windows(  # one per fact that decides a plan
    model: ProZS,
    card: ModelCard,
    backbone: SlideBackbone,
    slide: Slide,
    chunk: int | None = None,
    shift: tuple[int, int] = (0, 0),
) -> WindowPlan:
    """Windows whose cells see all that they need, so that it cannot be told where windows lie.

    The middle part of a window is a tile of the files that are written, which chunks are made of. A cell of the
    backbone around it serves to interpolate, and is shared with the next window; the rim around that is dropped.

    Args:
        model: The model.
        card: Its card.
        backbone: Its backbone.
        slide: The slide.
        chunk: Side of a chunk in map pixels, None takes what memory allows.
        shift: Moves the grid of windows.

    Raises:
        InputError: The slide states no resolution and the model needs one.
    """
    stride = backbone.info.stride
    tile = TIFF_TILE + 2 * stride
    per_pixel = output_cells(model, backbone, tile) / tile
    cells, rim = round(tile * per_pixel), round(backbone.reach * per_pixel)
    side = chunk or chunk_side(len(card.taxonomy), 1 / per_pixel)
    shared = 2 * stride / tile
    return plan_windows(slide, tile, cells, card.mpp, chunk=side, overlap=shared, shift=shift, rim=rim)


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
    if not plan.rim or not isinstance(backbone, SlideBackbone):
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
