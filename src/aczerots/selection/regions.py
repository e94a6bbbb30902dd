"""Sums over square regions of feature cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def region_sums(values: NDArray[np.floating], radius: int) -> NDArray[np.float64]:
    """Sums over the square of cells within ``radius`` of each cell of values [b, rows, columns, k], float64.

    A radius of 1 is a square of 3 x 3 cells; squares end at the edge of the tile.
    """
    out = values.astype(np.float64)
    for axis in (1, 2):
        pad = [(0, 0)] * out.ndim
        pad[axis] = (radius + 1, radius)
        total = np.pad(out, pad).cumsum(axis=axis)
        n = out.shape[axis]
        high = np.take(total, np.arange(2 * radius + 1, 2 * radius + 1 + n), axis=axis)
        out = high - np.take(total, np.arange(n), axis=axis)
    return out
