"""Slides as deep-zoom images: a pyramid of small JPEG tiles, computed when they are asked for.

Levels and tiles as in the Deep Zoom file format: level 0 is one pixel, each level doubles, the last one
(ceil(log2(longest side))) is the slide's own level 0.
"""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aczerots.errors import NotFoundError
from aczerots.slides.base import Box, Slide

TILE = 254
OVERLAP = 1
CACHE_BYTES = 64 * 2**20
_QUALITY = 90


def top_level(slide: Slide) -> int:
    """Number of the level at full resolution."""
    return math.ceil(math.log2(max(*slide.size, 1)))


def describe(slide: Slide) -> str:
    """The DZI file of a slide, XML."""
    width, height = slide.size
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpeg" TileSize="{TILE}" '
        f'Overlap="{OVERLAP}"><Size Width="{width}" Height="{height}"/></Image>\n'
    )


def tile_box(slide: Slide, level: int, column: int, row: int) -> tuple[Box, tuple[int, int]]:
    """Where a deep-zoom tile lies.

    Returns:
        Its box in level-0 pixels, inside the slide, and its (width, height) in pixels.

    Raises:
        NotFoundError: No such tile.
    """
    top = top_level(slide)
    if not 0 <= level <= top:
        raise NotFoundError(f"there is no level {level}", where=slide.id, fix=f"Levels are 0 to {top}")
    scale = 2 ** (top - level)
    spans = []
    for place, length in zip((column, row), slide.size, strict=True):
        extent = math.ceil(length / scale)
        start, end = max(0, place * TILE - OVERLAP), min(extent, (place + 1) * TILE + OVERLAP)
        if place < 0 or place * TILE >= extent:
            raise NotFoundError(f"level {level} has no tile {column}_{row}", where=slide.id)
        spans.append((start * scale, min(length, end * scale), end - start))
    (x, right, width), (y, bottom, height) = spans
    return Box(x, y, right - x, bottom - y), (width, height)


def encode(pixels: NDArray[np.uint8], form: str = "JPEG") -> bytes:
    """RGB uint8 [h, w, 3] as JPEG, or as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, quality=_QUALITY)
    return buffer.getvalue()


class DeepZoom:
    """Encoded tiles of slides, the newest ``max_bytes`` kept in memory. May be used from several threads."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[tuple[str, int, int, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def tile(self, slide: Slide, level: int, column: int, row: int) -> bytes:
        """A tile as JPEG.

        Raises:
            NotFoundError: No such tile.
            InputError: The slide cannot be read.
        """
        key = (slide.id, level, column, row)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        box, size = tile_box(slide, level, column, row)
        return self._keep(key, encode(slide.read(box, size)))

    def _keep(self, key: tuple[str, int, int, int], data: bytes) -> bytes:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = data
                self._bytes += len(data)
            while self._bytes > self._max_bytes and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return data
