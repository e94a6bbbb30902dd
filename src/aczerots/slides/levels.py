"""Reads a pyramid at any resolution, as if level 0 had been resampled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aczerots.slides.base import Box

BLOCK = 2048
"""Side in pixels of what is read of a level at once, so that large boxes need no more memory."""

_FINE = 1.001
"""How much coarser than asked for a level may be, because ratios of level sizes are not exact."""


@dataclass(frozen=True)
class Level:
    """One resolution of a slide.

    Attributes:
        size: (width, height) in pixels of this level.
        scale: Level-0 pixels per pixel of this level, (x, y); 1 at level 0.
    """

    size: tuple[int, int]
    scale: tuple[float, float]


@dataclass(frozen=True)
class Patch:
    """Pixels of a level.

    Attributes:
        pixels: RGB uint8 [h, w, 3].
        shift: Offset (x, y) of the top left corner from where it was asked for, in pixels of the level,
            -1 < shift <= 0; not 0 where a reader cannot start at every pixel.
    """

    pixels: NDArray[np.uint8]
    shift: tuple[float, float] = (0.0, 0.0)


Fetch = Callable[[int, Box], Patch]
"""(level, box in pixels of that level and inside it) -> its pixels."""


def level_scale(whole: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
    """Level-0 pixels per pixel of a level, (x, y), from the (width, height) of level 0 and of the level.

    Scanners reduce by whole numbers and drop or pad the rest at the right and lower edge: 4443 pixels become 2221 at
    factor 2; the ratio 2.0005 would be off by a pixel at the far end. So a whole number that explains both sizes is
    taken, otherwise the ratio of the sizes.
    """
    guess = (whole[0] / size[0] + whole[1] / size[1]) / 2
    near = sorted({math.floor(guess), math.ceil(guess)} - {0}, key=lambda k: abs(k - guess))
    for factor in near:
        if all(abs(w / factor - s) < 1 for w, s in zip(whole, size, strict=True)):
            return float(factor), float(factor)
    return whole[0] / size[0], whole[1] / size[1]


def make_levels(sizes: Sequence[tuple[int, int]]) -> tuple[Level, ...]:
    """Levels from their (width, height), level 0 first."""
    return tuple(Level(s, level_scale(sizes[0], s)) for s in sizes)


def best_level(levels: Sequence[Level], scale: tuple[float, float]) -> int:
    """The coarsest level that is not coarser than ``scale`` level-0 pixels per pixel; 0 if none is."""
    fit = [i for i, v in enumerate(levels) if all(a <= b * _FINE for a, b in zip(v.scale, scale, strict=True))]
    return max(fit, key=lambda i: levels[i].scale[0], default=0)


def read_levels(levels: Sequence[Level], fetch: Fetch, box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Pixels of a box resampled from the best level to ``size`` (width, height): RGB uint8 [height, width, 3].

    Bicubic with antialiasing, also from pixels around the box, so that neighbouring boxes fit together without a seam.
    Beyond the slide pixels are mirrored at its level-0 edge; where a level does not end exactly there, they may be off
    by half a pixel of that level.
    """
    width, height = size
    scale = box.width / width, box.height / height
    index = best_level(levels, scale)
    ratio = [s / v for s, v in zip(scale, levels[index].scale, strict=True)]
    step = [max(16, int(BLOCK / max(r, 1e-9))) for r in ratio]
    out = np.empty((height, width, 3), dtype=np.uint8)
    for top in range(0, height, step[1]):
        for left in range(0, width, step[0]):
            part = (left, top, min(left + step[0], width), min(top + step[1], height))
            area = tuple(
                (start + p * s) / v
                for p, start, s, v in zip(part, (box.x, box.y) * 2, scale * 2, levels[index].scale * 2, strict=True)
            )
            shape = part[2] - part[0], part[3] - part[1]
            out[part[1] : part[3], part[0] : part[2]] = _resampled(levels, index, fetch, area, shape)
    return out


def _resampled(
    levels: Sequence[Level], index: int, fetch: Fetch, area: tuple[float, ...], shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """``area`` (left, top, right, bottom in pixels of the level) resampled to ``shape`` = (width, height)."""
    ratio = [(area[i + 2] - area[i]) / shape[i] for i in (0, 1)]
    # The bicubic kernel reaches two pixels of the coarser of both grids.
    margin = [math.ceil(2 * max(r, 1.0)) + 2 for r in ratio]
    start = [math.floor(area[i]) - margin[i] for i in (0, 1)]
    stop = [math.ceil(area[i + 2]) + margin[i] for i in (0, 1)]
    whole, level = levels[0].size, levels[index]
    columns, rows = (_indices(start[i], stop[i], level.scale[i], whole[i], level.size[i]) for i in (0, 1))
    left, top = int(columns.min()), int(rows.min())
    patch = fetch(index, Box(left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top))
    pixels = patch.pixels
    if pixels.shape[:2] != (len(rows), len(columns)) or rows[0] != top or columns[0] != left:
        pixels = pixels[rows[:, None] - top, columns - left]
    first = [start[i] + patch.shift[i] for i in (0, 1)]
    inside = area[0] - first[0], area[1] - first[1], area[2] - first[0], area[3] - first[1]
    if ratio == [1.0, 1.0] and all(v == int(v) for v in inside):
        x, y = int(inside[0]), int(inside[1])
        return pixels[y : y + shape[1], x : x + shape[0]]
    return np.asarray(Image.fromarray(pixels).resize(shape, Image.Resampling.BICUBIC, box=inside))


def _indices(start: int, stop: int, scale: float, length: int, count: int) -> NDArray[np.intp]:
    """Indices of the pixels ``start`` .. ``stop`` along an axis of a level, mirrored at the edges of the slide.

    The level has ``count`` pixels of ``scale`` level-0 pixels, the slide ``length`` level-0 pixels.
    """
    centre = ((np.arange(start, stop) + 0.5) * scale) % (2 * length)
    mirrored = np.where(centre < length, centre, 2 * length - centre)
    return np.minimum((mirrored / scale).astype(np.intp), count - 1)
