"""BADGE: a diverse batch of tiles that would move the last layer far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import PoolView, Selection, check_budget, report, softmax
from aczerots.selection.clusters import sample_one, square_distances

_BLOCK = 64


def gradient_embedding(pool: PoolView) -> NDArray[np.float64]:
    """Gradient of each tile's loss with respect to the last layer, if the predictions were right.

    With scores ``W phi`` and the mean cross-entropy over the cells inside the tile against the predicted classes
    it is ``mean over cells of (p - onehot(argmax p)) phi^T`` (Ash et al., 2020, Sec. 3, averaged over cells).

    Returns:
        Float64 [n, C * d_p].
    """
    out = np.empty((len(pool), len(pool.seen) * pool.features.shape[-1]))
    for i in range(0, len(pool), _BLOCK):
        part = slice(i, i + _BLOCK)
        p = softmax(pool.scores[part]).astype(np.float64)
        error = p - np.eye(p.shape[-1])[p.argmax(axis=-1)]
        error *= (pool.inside[part] / pool.inside[part].sum(axis=1, keepdims=True))[..., None]
        gradient = error.transpose(0, 2, 1) @ pool.features[part].astype(np.float64)
        out[part] = gradient.reshape(len(p), -1)
    return out


class BadgeStrategy:
    """k-means++ over gradient embeddings of tiles (Ash et al., ICLR 2020).

    The first tile is the one with the largest gradient, as in the authors' own program; each further one is drawn
    in proportion to its squared distance to the nearest one taken.
    """

    name = "badge"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the largest gradient, then draw tiles far from those chosen."""
        check_budget(budget)
        points = gradient_embedding(pool)
        length = np.linalg.norm(points, axis=1)
        nearest = np.where(pool.labelled, 0.0, length**2)
        allowance = pool.allowance()
        chosen, score = list[int](), list[float]()
        while len(chosen) < budget and allowance.open.any():
            free = allowance.open
            if not chosen:
                tile = int(np.lexsort((pool.rank, -np.where(free, length, -1.0)))[0])
            else:
                # Copies of a chosen tile are drawn only when nothing else is left.
                weight = np.where(free, nearest, 0.0)
                tile = sample_one(weight if weight.any() else free.astype(np.float64), pool.draw(rng))
            score.append(float(np.sqrt(nearest[tile])))
            allowance.take(tile)
            distance = square_distances(points, points[[tile]])[:, 0]
            nearest = np.minimum(nearest, distance) if chosen else distance
            chosen.append(tile)
        return report(pool, np.array(chosen, dtype=np.intp), np.array(score), {"gradient": length})
