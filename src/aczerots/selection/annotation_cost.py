"""What drawing a tile takes: outlines of the classes that are drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def annotation_cost(
    labels: NDArray[np.integer], inside: NDArray[np.bool_], seen: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Effort of drawing tiles, 1 for one that needs no outline.

    An expert looks at each tile once, and the time that drawing takes grows with the outlines (so Mackowiak et al.,
    2018, who count clicks on them). A step between two neighbours counts where exactly one of them is of a seen
    class, or both are of different ones; a straight outline across the tile costs as much as looking at it.

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
    effort: NDArray[np.float32] = (1.0 + steps / side).astype(np.float32)
    return effort
