"""Finds the tissue of a slide: coarsely in a small picture of it, exactly where tissue ends; not ink, dust or glass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from aczerots.slides.base import Box, Slide
from aczerots.slides.pixels import picked

THUMBNAIL = 2048
"""Longest side in pixels of the picture in which tissue is looked for."""

FINEST = 4.0
"""Finest resolution of that picture in micrometres per pixel; single cells do not matter for tissue."""

NOMINAL = 0.5
"""Micrometres per pixel that sizes are reckoned with where a slide states none: that of most pictures of tissue."""

_UNKNOWN = 2.0
"""Finest resolution of that picture then, in nominal micrometres per pixel."""

_FAINT, _PALE = 0.025, 0.06
_MIN_SPECK = 12
_MIN_INK = 40
_DETAIL = 2000.0
"""Micrometres: a slide of a shorter side is a detail of a section."""

_BLACK = 1.4
"""Density of what is black: padding, and the ground of fluorescence."""

_HOLE = 20000.0
"""Square micrometres: smaller holes are part of the tissue, such as a few fat cells."""

_GAP = 40.0
"""Micrometres: narrower gaps are part of the tissue, so that fat cells do not run together into holes."""


_HUE = 16
"""Largest difference between the colours of empty glass."""

_FINE, _BLOCK, _MARGIN, _KEPT = 2.0, 256, 16, 16
"""Micrometres per pixel of the pictures that show exactly where tissue ends, their side and margin in pixels, and how
many results are kept."""


@dataclass(frozen=True)
class TissueMask:
    """Tissue of a slide, coarse; exact at its edge where the picture is known.

    Attributes:
        mask: Bool [h, w], True is tissue; the whole slide at a lower resolution.
        size: (width, height) of the slide in level-0 pixels.
        rim: Bool [h, w], pixels of ``mask`` near glass, for which ``edge`` decides; None for a mask that is exact.
        edge: Decides there.
    """

    mask: NDArray[np.bool_]
    size: tuple[int, int]
    rim: NDArray[np.bool_] | None = None
    edge: PictureEdge | None = None

    @property
    def fraction(self) -> float:
        """Fraction of the slide that is tissue, 0 to 1."""
        return float(self.mask.mean())

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
        """What of a box (level-0 pixels) is tissue, bool [height, width]; False beyond the slide.

        Raises:
            InputError: The slide cannot be read.
        """
        x = np.floor(box.x + (np.arange(size[0]) + 0.5) * box.width / size[0]).astype(np.int64)
        y = np.floor(box.y + (np.arange(size[1]) + 0.5) * box.height / size[1]).astype(np.int64)
        h, w = self.mask.shape
        columns, rows = x * w // self.size[0], y * h // self.size[1]
        inside = picked(self.mask, rows, columns, fill=False)
        if self.rim is not None and self.edge is not None:
            unsure = picked(self.rim, rows, columns, fill=False)
            in_y, in_x = unsure.any(axis=1), unsure.any(axis=0)
            if in_y.any():
                part = np.ix_(in_y, in_x)
                inside[part] &= ~unsure[part] | self.edge.read(y[in_y], x[in_x])
        return inside


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
    from scipy import ndimage

    pixels, mpp = thumbnail(slide, finest=FINEST if slide.mpp else _UNKNOWN)
    scale = mpp or NOMINAL * slide.size[0] / pixels.shape[1]
    light, signal, ink = _light(pixels, scale)
    mask = _tissue(signal, ink, light, mpp, scale)
    # What is smoothed and closed reaches a little beyond the tissue. Of faint parts the picture says nothing.
    near = [ndimage.binary_dilation(m, iterations=3) for m in (~mask, signal > light.threshold)]
    rim = mask & near[0] & near[1]
    return TissueMask(mask, slide.size, rim, PictureEdge(slide, light))


def thumbnail(slide: Slide, finest: float = FINEST) -> tuple[NDArray[np.uint8], float | None]:
    """A small picture of a slide: (RGB uint8 [h, w, 3], its micrometres per pixel or None).

    Its longer side has at most :data:`THUMBNAIL` pixels, of at least ``finest`` micrometres; nominal ones if not known.
    """
    width, height = slide.size
    factor = max(1.0, max(width, height) / THUMBNAIL, finest / (slide.mpp or NOMINAL))
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
    light, signal, ink = _light(pixels, mpp or FINEST)
    return _tissue(signal, ink, light, mpp, mpp or FINEST)


@dataclass(frozen=True)
class Light:
    """What tells stain from glass in the pictures of a slide.

    Attributes:
        glass: RGB float [3] of empty glass.
        grey: Whether the slide has no colours.
        small: Whether it is a detail of a section: there are no strokes of a pen, and no haze around the tissue.
        threshold: Signal above which something is stained.
    """

    glass: NDArray[np.float64]
    grey: bool
    small: bool
    threshold: float = _PALE

    def signal(self, pixels: NDArray[np.uint8], sigma: float = 1.0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """How stained the pixels of a picture are, and which are ink: float32 and bool [h, w]."""
        from scipy import ndimage

        density = np.log10((self.glass + 1) / (pixels.astype(np.float32) + 1)).clip(0).astype(np.float32)
        red, green, blue = smooth = np.stack([ndimage.gaussian_filter(density[..., c], sigma) for c in range(3)])
        stain = green if self.grey else np.minimum(green, 3 * (smooth.max(axis=0) - smooth.min(axis=0)))
        return stain, smooth.min(axis=0) > _BLACK if self.grey or self.small else _ink(red, green, blue)


def _light(pixels: NDArray[np.uint8], scale: float) -> tuple[Light, NDArray[np.float32], NDArray[np.bool_]]:
    """Measured in a small picture of a slide; also gives what :meth:`Light.signal` says of the picture.

    The glass is the brightest common colour without a hue, if it is bright at all: faint slides are mostly glass,
    dense ones have a rim of it. Without any, white is the best guess; the palest tissue would be the worst.
    """
    light = pixels.min(axis=2)
    hue = pixels.max(axis=2) - light
    bright = (light >= max(200, int(np.percentile(light, 60)))) & (hue <= _HUE)
    glass = np.median(pixels[bright], axis=0) if bright.sum() >= 0.005 * light.size else np.full(3, 245.0)
    first = Light(glass, bool((hue > 4).mean() < 1e-4), max(light.shape) * scale < _DETAIL)
    signal, ink = first.signal(pixels)
    return replace(first, threshold=float(np.clip(_otsu(signal[~ink]), _FAINT, _PALE))), signal, ink


def _tissue(
    signal: NDArray[np.float32], ink: NDArray[np.bool_], light: Light, mpp: float | None, scale: float
) -> NDArray[np.bool_]:
    """As :func:`tissue_of`; ``scale`` is the micrometres per pixel that gaps and holes are measured with."""
    from scipy import ndimage

    mask = (signal > light.threshold) & ~ink
    mask = ndimage.binary_closing(mask, iterations=1) | mask
    mask = _without_small(mask, _MIN_SPECK if mpp is None else max(_MIN_SPECK, round(5000 / mpp**2)))
    radius, least = _GAP / 2 / scale, min(max(2 * _MIN_SPECK, round(_HOLE / scale**2)), mask.size // 2)
    glass = _without_small(_opened(~mask, radius) | ink, least)
    # What tissue encloses is glass only if not even faint lines cross it: walls of fat cells are thin, mucin is pale.
    parts, number = ndimage.label(glass)
    open_parts = np.zeros(number + 1, dtype=bool)
    for border in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        open_parts[border] = True
    doubtful = glass if light.small else glass & ~open_parts[parts]
    if doubtful.any():
        level = np.asarray(ndimage.median(signal[doubtful], parts[doubtful], np.arange(number + 1)))
        level += np.where(open_parts, _FAINT, _FAINT / 2)
        empty = doubtful.copy()
        empty[doubtful] = signal[doubtful] <= level[parts[doubtful]]
        glass = (glass & ~doubtful) | _without_small(_opened(empty, radius) | (doubtful & ink), least)
    return ~glass


def _opened(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """The parts of a mask that a disc of ``radius`` pixels inside it covers; the rim of the picture is no border."""
    from scipy import ndimage

    if radius < 1 or not mask.any():
        return mask
    wide = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1] > radius
    if not wide.any():
        return np.zeros_like(mask)
    return np.asarray(mask & (ndimage.distance_transform_edt(~wide) <= radius), dtype=bool)


class PictureEdge:
    """Tells tissue from glass in pictures at about two micrometres per pixel.

    Pictures are blocks at fixed places, so that a pixel is the same whatever box it is asked for in.

    Args:
        slide: The slide.
        light: What tells stain from glass in it.
    """

    def __init__(self, slide: Slide, light: Light) -> None:
        self._slide, self._light = slide, light
        self._step = max(1, round(_FINE / (slide.mpp or NOMINAL)))
        self._block = lru_cache(_KEPT)(self._decide)

    def read(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether pixels of level 0 inside the slide are tissue: bool [rows, columns].

        Raises:
            InputError: The slide cannot be read.
        """
        y, x = rows // self._step, columns // self._step
        out = np.zeros((len(y), len(x)), dtype=bool)
        for j in np.unique(y // _BLOCK).tolist():
            for i in np.unique(x // _BLOCK).tolist():
                in_y, in_x = y // _BLOCK == j, x // _BLOCK == i
                block = self._block(i, j)
                out[np.ix_(in_y, in_x)] = block[np.ix_(y[in_y] % _BLOCK, x[in_x] % _BLOCK)]
        return out

    def _decide(self, i: int, j: int) -> NDArray[np.bool_]:
        """Bool [_BLOCK, _BLOCK] of a block."""
        side, step = _BLOCK + 2 * _MARGIN, self._step
        corner = (i * _BLOCK - _MARGIN) * step, (j * _BLOCK - _MARGIN) * step
        pixels = self._slide.read(Box(*corner, side * step, side * step), (side, side))
        signal, _ = self._light.signal(pixels, 0.5)
        stained = _without_small(signal > self._light.threshold, 2 * _MIN_SPECK)
        tissue = ~_opened(~stained, _MARGIN / 4)
        return tissue[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


def _ink(red: NDArray[np.float32], green: NDArray[np.float32], blue: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Bool [h, w]: strokes of a pen, with a margin; densities of the three colours."""
    from scipy import ndimage

    # Crowded nuclei, as of lymphocytes, absorb red as much, but blue half as much as green: less than green ink, more
    # than blue ink.
    nuclei = (red < 1.35 * green) & (blue > 0.42 * green) & (blue < 0.8 * green)
    cold = (red > 1.15 * green) & (red > 0.12) & ~nuclei
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
