"""Annotation cost of a tile, from the outlines that an expert has to draw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def annotation_cost(
    labels: NDArray[np.integer], inside: NDArray[np.bool_], seen: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Annotation cost of tiles; 1 for a tile without outlines.

    ``1 + outline / side``: an expert looks at each tile once, and the time for drawing grows with the length of the
    outlines (Mackowiak et al., BMVC 2018, count clicks on them). A step between two neighbouring cells is outline where
    exactly one of them is of a seen class, or both are of different seen classes. A straight outline across the tile
    costs as much as looking at it.

    Args:
        labels: Label ids [n, rows, columns]; ids without a place in ``seen`` are not drawn.
        inside: What belongs to the tile, [n, rows, columns].
        seen: Which classes are drawn [C].

    Returns:
        Float32 [n].
    """
    known = np.append(seen, False)[np.minimum(labels, len(seen))]
    drawn = np.where(known & inside, labels, -1)
    across = (drawn[:, :, 1:] != drawn[:, :, :-1]) & inside[:, :, 1:] & inside[:, :, :-1]
    down = (drawn[:, 1:] != drawn[:, :-1]) & inside[:, 1:] & inside[:, :-1]
    side = np.sqrt(np.maximum(inside.sum(axis=(1, 2)), 1))
    steps = across.sum(axis=(1, 2)) + down.sum(axis=(1, 2))
    return np.asarray(1.0 + steps / side, dtype=np.float32)
