"""Finds the tissue of a slide in a small picture of it, and leaves out ink, dust and glass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from aczerots.slides.base import Box, Slide
from aczerots.slides.pixels import picked

THUMBNAIL = 2048
"""Longest side in pixels of the picture in which tissue is looked for."""

FINEST = 8.0
"""Finest resolution of that picture in micrometres per pixel; single cells do not matter for tissue."""

_FAINT, _PALE = 0.025, 0.06
_MIN_SPECK = 12
_MIN_INK = 40


@dataclass(frozen=True)
class TissueMask:
    """Tissue of a slide, coarse.

    Attributes:
        mask: Bool [h, w], True is tissue; the whole slide at a lower resolution.
        size: (width, height) of the slide in level-0 pixels.
    """

    mask: NDArray[np.bool_]
    size: tuple[int, int]

    @cached_property
    def _sums(self) -> NDArray[np.int64]:
        """Integral image int64 [h + 1, w + 1]."""
        h, w = self.mask.shape
        sums = np.zeros((h + 1, w + 1), dtype=np.int64)
        np.cumsum(np.cumsum(self.mask, axis=0), axis=1, out=sums[1:, 1:])
        return sums

    def any(self, box: Box) -> bool:
        """Whether any tissue lies in a box (level-0 pixels, may reach beyond the slide)."""
        y0, y1 = _cover(box.y, box.height, self.size[1], self.mask.shape[0])
        x0, x1 = _cover(box.x, box.width, self.size[0], self.mask.shape[1])
        return bool(self._sums[y1, x1] - self._sums[y0, x1] - self._sums[y1, x0] + self._sums[y0, x0])

    def read(self, box: Box, size: tuple[int, int]) -> NDArray[np.bool_]:
        """The mask of a box (level-0 pixels) by nearest neighbour, bool [height, width]; False beyond the slide."""
        scale = [m / s for m, s in zip(self.mask.shape[::-1], self.size, strict=True)]
        columns = np.floor((box.x + (np.arange(size[0]) + 0.5) * box.width / size[0]) * scale[0]).astype(np.int64)
        rows = np.floor((box.y + (np.arange(size[1]) + 0.5) * box.height / size[1]) * scale[1]).astype(np.int64)
        return picked(self.mask, rows, columns, fill=False)


def _cover(start: int, extent: int, length: int, count: int) -> tuple[int, int]:
    """Half-open range of the mask's pixels that a stretch of level-0 pixels touches."""
    first = min(count, max(0, start) * count // length)
    last = -(-min(length, start + extent) * count // length)
    return first, max(first, last)


def everything(slide: Slide) -> TissueMask:
    """A mask that takes the whole slide for tissue."""
    return TissueMask(np.ones((1, 1), dtype=bool), slide.size)


def find_tissue(slide: Slide) -> TissueMask:
    """The tissue of a slide.

    Raises:
        InputError: The slide cannot be read.
    """
    pixels, mpp = thumbnail(slide)
    return TissueMask(tissue_of(pixels, mpp), slide.size)


def thumbnail(slide: Slide, finest: float = FINEST) -> tuple[NDArray[np.uint8], float | None]:
    """A small picture of a slide: (RGB uint8 [h, w, 3], its micrometres per pixel or None).

    Its longer side has at most :data:`THUMBNAIL` pixels, of at least ``finest`` micrometres if known.
    """
    width, height = slide.size
    factor = max(1.0, max(width, height) / THUMBNAIL, finest / slide.mpp if slide.mpp else 1.0)
    size = max(1, round(width / factor)), max(1, round(height / factor))
    return slide.read(Box(0, 0, width, height), size), None if slide.mpp is None else slide.mpp * width / size[0]


def tissue_of(pixels: NDArray[np.uint8], mpp: float | None = None) -> NDArray[np.bool_]:
    """Tissue in a small picture of a slide.

    Works in optical density against the slide's own glass (Beer-Lambert). Stained tissue absorbs green, and absorbs
    colours unequally; shadows, dust and edges of the cover slip absorb all colours equally. The threshold is Otsu's,
    clipped to a range: without the lower bound it finds tissue on blank slides, without the upper one it loses fat
    beside dense tissue. Ink is recognised by its colour: blue and green ink absorb red more than stains do, black ink
    absorbs all colours strongly, red ink absorbs blue as much as green.

    Args:
        pixels: RGB uint8 [h, w, 3].
        mpp: Its micrometres per pixel; where not known, a fixed number of pixels decides what a speck is.

    Returns:
        Bool [h, w].
    """
    from scipy import ndimage

    density = _density(pixels)
    smooth = np.stack([ndimage.gaussian_filter(density[..., c], 1.0) for c in range(3)])
    red, green, blue = smooth
    unequal = smooth.max(axis=0) - smooth.min(axis=0)
    signal = np.minimum(green, 3 * unequal)
    ink = _ink(red, green, blue)
    threshold = float(np.clip(_otsu(signal[~ink]), _FAINT, _PALE))
    mask = (signal > threshold) & ~ink
    speck = _MIN_SPECK if mpp is None else max(_MIN_SPECK, round(5000 / mpp**2))
    mask = ndimage.binary_closing(mask, iterations=1) | mask
    mask = _without_small(mask, speck)
    mask = ~_without_small(~mask, 2 * speck)
    return np.asarray(mask, dtype=bool)


def _density(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Optical density float32 [h, w, 3] against the glass: the brightest common colour, if it is bright at all."""
    light = pixels.min(axis=2)
    # Faint slides are mostly glass, dense ones have a rim of it; without any, white is the best guess.
    bright = light >= max(200, int(np.percentile(light, 60)))
    glass = np.median(pixels[bright], axis=0) if bright.sum() >= 0.005 * light.size else np.full(3, 245.0)
    return np.log10((glass + 1) / (pixels.astype(np.float32) + 1)).clip(0).astype(np.float32)


def _ink(red: NDArray[np.float32], green: NDArray[np.float32], blue: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Bool [h, w]: strokes of a pen, with a margin; densities of the three colours."""
    from scipy import ndimage

    cold = (red > 1.15 * green) & (red > 0.12)
    black = (green > 0.35) & (np.minimum(red, blue) > 0.85 * green)
    # Lakes of red blood cells have this colour too, but not this density.
    crimson = (green > 0.75) & (red < 0.2 * green) & (blue > 0.75 * green)
    strokes = _without_small(ndimage.binary_closing(cold | black | crimson, iterations=1), _MIN_INK)
    return np.asarray(ndimage.binary_dilation(strokes, iterations=3), dtype=bool)


def _otsu(values: NDArray[np.float32]) -> float:
    """Threshold that parts values into two classes of least spread (Otsu, 1979)."""
    counts, edges = np.histogram(values, bins=256, range=(0.0, 1.0))
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(middle[int(np.nan_to_num(between).argmax())])


def _without_small(mask: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """Only the connected parts of at least so many pixels."""
    from scipy import ndimage

    parts, _ = ndimage.label(mask)
    large = np.bincount(parts.ravel()) >= least
    large[0] = False
    return np.asarray(large[parts], dtype=bool)
