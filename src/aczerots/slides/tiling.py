"""Cuts slides into tiles that partition them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from aczerots.errors import SettingsError
from aczerots.slides.base import Box, Slide, Tile


def _spans(length: int, side: int) -> list[tuple[int, int, int]]:
    """Split ``length`` pixels into the fewest near-equal parts of at most ``side``.

    Returns:
        (start, extent, window start) of each part; a window of ``side`` pixels contains the part and stays
        inside [0, length] where length >= side, otherwise it is centred on the slide.
    """
    parts = max(1, math.ceil(length / side))
    edges = [round(i * length / parts) for i in range(parts + 1)]
    spans = []
    for start, end in pairwise(edges):
        centred = (start + end - side) // 2
        window = min(max(centred, 0), length - side) if length >= side else centred
        spans.append((start, end - start, window))
    return spans


def cut_tiles(slide: Slide, tile_size: int, mpp: float | None = None) -> list[Tile]:
    """Tiles of a slide in reading order; their boxes partition it.

    Args:
        slide: The slide.
        tile_size: Side of the window in pixels as the backbone sees it.
        mpp: Resolution to read at; None reads level-0 pixels as they are.

    Raises:
        SettingsError: Tile size below 16, or ``mpp`` asked of a slide that states none.
    """
    if tile_size < 16:
        raise SettingsError(f"tile size {tile_size} is too small", fix="Use at least 16 pixels")
    if mpp is not None and slide.mpp is None:
        raise SettingsError("the slide states no resolution", where=slide.id, fix="Give its micrometres per pixel")
    scale = 1.0 if mpp is None or slide.mpp is None else mpp / slide.mpp
    side = round(tile_size * scale)
    width, height = slide.size
    return [
        Tile(slide.id, Box(x, y, w, h), Box(wx, wy, side, side), tile_size, slide.mpp if mpp is None else mpp)
        for y, h, wy in _spans(height, side)
        for x, w, wx in _spans(width, side)
    ]


def common_mpp(tiles: Sequence[Tile]) -> float | None:
    """The resolution at which tiles are read: their median micrometres per pixel.

    None where a tile has none, or where they differ by more than 10 %; then pixels are not resampled.
    """
    known = sorted(t.mpp for t in tiles if t.mpp is not None)
    if not known or len(known) < len(tiles) or known[-1] > 1.1 * known[0]:
        return None
    return known[len(known) // 2]
