"""Sums over square regions of feature cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def region_sums(values: NDArray[np.floating], radius: int) -> NDArray[np.float64]:
    """Sum over the square of cells within ``radius`` of each cell, cut off at the edge of the grid.

    Args:
        values: [b, rows, columns, k].
        radius: 1 is a square of 3 x 3 cells.

    Returns:
        Float64, the same shape.
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
