"""Masks to polygons and back, exact to the pixel.

Polygons follow the edges of pixels, and a pixel belongs to a polygon when its centre lies inside. Contours that
connect pixel centres, as OpenCV draws them, lose half a pixel all around.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import extra_needed
from aczerots.slides.base import Box
from aczerots.taxonomy import IGNORE

if TYPE_CHECKING:
    from affine import Affine
    from shapely.geometry import MultiPolygon, Polygon


def vectorise(mask: NDArray[np.uint8], window: Box) -> list[tuple[int, Polygon]]:
    """(label id, polygon with holes in level-0 pixels) of each connected region of a mask.

    Pixels that touch at a corner only are two regions.

    Args:
        mask: Label ids uint8 [h, w]; IGNORE gives no polygon.
        window: What the mask covers, level-0 pixels.

    Raises:
        MissingExtraError: The extra ``project`` is not installed.
    """
    with extra_needed("project", "turning masks into polygons"):
        from rasterio.features import shapes
        from shapely.geometry import shape
    found = shapes(mask, mask=mask != IGNORE, connectivity=4, transform=_transform(window, mask.shape))
    return [(int(label), shape(geometry)) for geometry, label in found]


def rasterise(
    regions: Iterable[tuple[int, Polygon | MultiPolygon]], window: Box, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """The mask that regions draw; a later region covers an earlier one.

    Args:
        regions: (label id, geometry in level-0 pixels).
        window: What the mask covers, level-0 pixels.
        size: (width, height) of the mask.

    Returns:
        Label ids uint8 [height, width], IGNORE where no region covers the centre of the pixel.

    Raises:
        MissingExtraError: The extra ``project`` is not installed.
    """
    with extra_needed("project", "turning polygons into masks"):
        from rasterio.features import rasterize
    shape = size[1], size[0]
    burnt = [(geometry, label) for label, geometry in regions]
    if not burnt:
        return np.full(shape, IGNORE, dtype=np.uint8)
    out: NDArray[np.uint8] = rasterize(
        burnt, out_shape=shape, fill=IGNORE, transform=_transform(window, shape), dtype=np.uint8
    )
    return out


def _transform(window: Box, shape: tuple[int, ...]) -> Affine:
    """From (column, row) of the mask to level-0 pixels."""
    from affine import Affine

    step_x, step_y = window.width / shape[1], window.height / shape[0]
    return Affine(step_x, 0.0, window.x, 0.0, step_y, window.y)
