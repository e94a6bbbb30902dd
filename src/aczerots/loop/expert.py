"""The simulated expert: draws the truth of the seen classes and nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aczerots.slides.base import LabelMap, Tile
from aczerots.taxonomy import IGNORE, Taxonomy


def read_truth(truth: LabelMap, tile: Tile) -> NDArray[np.uint8]:
    """Label ids uint8 [size, size] in the frame of the tile's window; IGNORE outside the tile's box."""
    labels = truth.read(tile.window, (tile.size, tile.size))
    out = np.full_like(labels, IGNORE)
    out[tile.inner] = labels[tile.inner]
    return out


def draw(truth: LabelMap, tile: Tile, taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """What an expert who draws only seen classes would hand in for a tile; frame as in :func:`read_truth`."""
    labels = read_truth(truth, tile)
    keep = np.zeros(256, dtype=bool)
    keep[list(taxonomy.seen_ids)] = True
    return np.where(keep[labels], labels, np.uint8(IGNORE))
