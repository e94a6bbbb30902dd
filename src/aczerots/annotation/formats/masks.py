"""Masks: label ids of a tile, kept in databases as PNG, cut and put together."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from aczerots.errors import StorageError
from aczerots.slides.base import Tile
from aczerots.taxonomy import IGNORE, Taxonomy


def encode_mask(mask: NDArray[np.uint8]) -> bytes:
    """PNG of label ids uint8 [h, w]."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


def decode_mask(data: bytes) -> NDArray[np.uint8]:
    """Label ids uint8 [h, w] of a PNG made by :func:`encode_mask`.

    Raises:
        StorageError: The bytes are damaged.
    """
    try:
        return np.array(Image.open(io.BytesIO(data)), dtype=np.uint8)
    except (OSError, UnidentifiedImageError) as error:
        raise StorageError("a stored mask is damaged", fix="Restore the database from a backup") from error


def only_inside(mask: NDArray[np.uint8], tile: Tile) -> NDArray[np.uint8]:
    """The mask uint8 [size, size] of a tile's window with IGNORE outside the tile's box."""
    out = np.full_like(mask, IGNORE)
    out[tile.inner] = mask[tile.inner]
    return out


def only_seen(mask: NDArray[np.uint8], taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """The mask uint8 [h, w] with IGNORE in place of unseen classes."""
    return np.where(np.isin(mask, taxonomy.seen_ids), mask, np.uint8(IGNORE))


def paste_tile(
    labels: NDArray[np.uint8], corner: tuple[int, int], step: float, tile: Tile, mask: NDArray[np.uint8]
) -> bool:
    """Copy the mask of a tile into a label image, where its box lies; a pixel takes what covers its centre.

    Args:
        labels: Label ids uint8 [h, w], changed in place.
        corner: (x, y) of the top left corner of ``labels``, level-0 pixels.
        step: Level-0 pixels per pixel of ``labels``.
        tile: The tile.
        mask: Its label ids uint8 [size, size], in the frame of its window.

    Returns:
        Whether the tile reaches into the image.
    """
    areas, sources = [], []
    for axis, length, start, extent, window in (
        (1, labels.shape[0], tile.box.y, tile.box.height, tile.window.y),
        (0, labels.shape[1], tile.box.x, tile.box.width, tile.window.x),
    ):
        centres = corner[axis] + (np.arange(length) + 0.5) * step
        area = slice(*np.searchsorted(centres, (start, start + extent)).tolist())
        places = (centres[area] - window) / (tile.window.width / tile.size)
        areas.append(area)
        sources.append(places.astype(int).clip(0, tile.size - 1))
    labels[tuple(areas)] = mask[np.ix_(*sources)]
    return all(len(source) for source in sources)
