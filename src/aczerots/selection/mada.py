"""MADA: tiles unlike everything drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import PoolView, Selection, take_top
from aczerots.selection.clusters import kmeans, square_distances
from aczerots.taxonomy import IGNORE


def class_centroids(pool: PoolView, classes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Mean features of the classes [n, m] of each tile, joined, float64 [n, C * d_p]; zero for absent classes.

    Cells with an id beyond the classes are left out.
    """
    number = len(pool.seen)
    out = np.empty((len(pool), number * pool.features.shape[-1]))
    for i in range(len(pool)):
        mass = (classes[i][:, None] == np.arange(number)) & pool.inside[i][:, None]
        sums = mass.T.astype(np.float64) @ pool.features[i].astype(np.float64)
        out[i] = (sums / np.maximum(mass.sum(axis=0), 1)[:, None]).ravel()
    return out


class MadaStrategy:
    """MADA: farthest from the nearest of several anchors of the drawn tiles (Ning et al., ICCV 2021).

    A tile is the row of its class centroids: by the drawn classes for drawn tiles, by the predicted ones for the
    others. Anchors are k-means centres of the drawn tiles, and the score is ``min_a |x - a|``. The paper chooses for a
    target domain given a labelled source domain; here the drawn tiles are the source and the others the target. Its
    adversarial warm-up and the alignment to soft anchors in training are left out. With nothing drawn the anchors are
    those of the whole pool.

    Args:
        anchors: Number of anchors, 10 in the paper.
    """

    name = "mada"

    def __init__(self, anchors: int = 10) -> None:
        self.anchors = anchors

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the tiles farthest from their nearest anchor; ``rng`` draws the first anchors."""
        predicted = pool.posterior().argmax(axis=-1)
        known = pool.known_labels()
        drawn = pool.labelled & (known != IGNORE).any(axis=1)
        points = class_centroids(pool, np.where(drawn[:, None], known, predicted))
        # Two tiles of a cluster are equally far from its centre up to rounding, which depends on the order of the
        # points in sums. So the points are always taken in the order of their keys.
        order = np.argsort(pool.rank)
        points, candidate = points[order], ~pool.labelled[order]
        source = np.flatnonzero(candidate if candidate.all() else ~candidate)
        centres, _ = kmeans(points[source], self.anchors, lambda: rng.random(len(pool))[source])
        score = np.empty(len(pool))
        score[order] = np.sqrt(square_distances(points, centres).min(axis=1))
        return take_top(pool, budget, score, {"anchor_distance": score})
