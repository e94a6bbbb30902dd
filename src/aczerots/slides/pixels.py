"""Cutting and resampling of decoded pixels, and the bounded store that holds them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import RLock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aczerots.slides.base import Box
from aczerots.taxonomy import IGNORE

AnyScalar = TypeVar("AnyScalar", bound=np.generic)

DEFAULT_CACHE_BYTES = 512 * 2**20
"""Room for one decoded slide scan of 9000 x 9900 pixels and some hundred crops."""


class PixelCache:
    """Decoded arrays, the least recently used dropped first; slides of one dataset share one.

    Args:
        max_bytes: Upper bound of what is kept. An array above it is handed out and not kept.

    Attributes:
        nbytes: Bytes held now.
    """

    def __init__(self, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._arrays: OrderedDict[object, NDArray[Any]] = OrderedDict()
        self.nbytes = 0
        self._lock = RLock()

    def get(self, key: object, make: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The array of ``key``, made by ``make`` where it is not held; read-only.

        Only one thread decodes at a time, so that no slide is decoded twice.
        """
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
            array = make()
            array.flags.writeable = False
            if array.nbytes <= self._max_bytes:
                self._arrays[key] = array
                self.nbytes += array.nbytes
                while self.nbytes > self._max_bytes:
                    self.nbytes -= self._arrays.popitem(last=False)[1].nbytes
            return array


def _mirrored(start: int, extent: int, length: int) -> NDArray[np.intp]:
    """Indices of ``start`` .. ``start + extent`` in an axis of ``length`` pixels mirrored at both edges.

    The edge pixel is repeated (``a b c | c b a | a b c``), so that an axis of one pixel works as well.
    """
    phase = np.arange(start, start + extent) % (2 * length)
    return np.where(phase < length, phase, 2 * length - 1 - phase)


def crop_mirrored(pixels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The box of an image uint8 [h, w, 3] in its frame, mirrored beyond it: uint8 [box.height, box.width, 3]."""
    height, width = pixels.shape[:2]
    if box.x >= 0 and box.y >= 0 and box.x + box.width <= width and box.y + box.height <= height:
        return pixels[box.y : box.y + box.height, box.x : box.x + box.width]
    rows = _mirrored(box.y, box.height, height)
    columns = _mirrored(box.x, box.width, width)
    return pixels[rows[:, None], columns]


def resample(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Pixels uint8 [h, w, 3] at ``size`` = (width, height), bicubic with antialiasing; a new array in any case."""
    if (pixels.shape[1], pixels.shape[0]) == size:
        return np.array(pixels)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.array(image.resize(size, Image.Resampling.BICUBIC))


def blend(
    colour: NDArray[np.uint8],
    opacity: NDArray[np.uint8],
    background: NDArray[np.uint16],
    *,
    premultiplied: bool = False,
) -> NDArray[np.uint8]:
    """Transparent pixels on a background.

    Args:
        colour: RGB uint8 [h, w, 3].
        opacity: uint8 [h, w, 1], 255 is opaque.
        background: RGB uint16 [3], 0 to 255.
        premultiplied: Whether the colours are multiplied by the opacity already.

    Returns:
        RGB uint8 [h, w, 3].
    """
    if opacity.min() == 255:
        return colour
    weight = opacity.astype(np.uint16)
    own = colour.astype(np.float32) if premultiplied else colour * weight / 255
    return np.rint(np.clip(own + background * (255 - weight) / 255, 0, 255)).astype(np.uint8)


def nearest(labels: NDArray[np.uint8], box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Label ids uint8 [height, width] of a box by nearest neighbour, IGNORE beyond the array.

    The box is in the frame of ``labels`` uint8 [h, w]; ``size`` is (width, height).
    """
    width, height = size
    rows = box.y + np.floor((np.arange(height) + 0.5) * box.height / height).astype(np.intp)
    columns = box.x + np.floor((np.arange(width) + 0.5) * box.width / width).astype(np.intp)
    return picked(labels, rows, columns, IGNORE)


def picked(
    values: NDArray[AnyScalar], rows: NDArray[np.integer], columns: NDArray[np.integer], fill: int
) -> NDArray[AnyScalar]:
    """Values [h, w] at some rows [r] and columns [c]: [r, c], ``fill`` beyond the array."""
    inside_y = (rows >= 0) & (rows < values.shape[0])
    inside_x = (columns >= 0) & (columns < values.shape[1])
    out = np.full((len(rows), len(columns)), fill, dtype=values.dtype)
    out[np.ix_(inside_y, inside_x)] = values[np.ix_(rows[inside_y], columns[inside_x])]
    return out
