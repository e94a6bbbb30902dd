"""S4AL: regions of rare classes where a teacher is unsure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import Floats, PoolView, Selection, take_top
from aczerots.selection.regions import region_sums
from aczerots.selection.uncertainty import entropy
from aczerots.taxonomy import IGNORE


def rarity(pool: PoolView) -> NDArray[np.float64]:
    """Weight of each class, [C], mean 1: one over its fraction of the drawn cells, smoothed by one part.

    All weights are 1 where nothing is known to be drawn.
    """
    known = pool.known_labels()
    count = np.bincount(known[known != IGNORE], minlength=len(pool.seen)).astype(np.float64)
    weight = 1.0 / (count / max(count.sum(), 1.0) + 1.0 / len(count))
    return np.asarray(weight / weight.mean())


class S4alStrategy:
    """S4AL: where a teacher is unsure, rare classes first (Rangnekar, Kanan and Hoffman, WACV 2023).

    The paper trains a mean teacher on pseudo-labels, takes image regions that it confuses, and counters class
    imbalance. Here the teacher is the mean over the model's dropout states, a region is 3 x 3 cells, a region's
    score is its mean entropy times the weight of its predicted classes (rare among the drawn weighs more), and a
    tile's score is the mean over the best quarter of its regions, because whole tiles are drawn. The
    semi-supervised training is left out.
    """

    name = "s4al"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the tiles whose best regions score highest; ``rng`` is not used."""
        teacher = _mean_posterior(pool)
        cells = entropy(teacher) * rarity(pool)[teacher.argmax(axis=-1)]
        shape = (len(pool), *pool.rows_and_columns, 1)
        weight = pool.inside.astype(np.float64)
        sums = region_sums((cells * weight).reshape(shape), 1)
        regions = (sums / np.maximum(region_sums(weight.reshape(shape), 1), 1.0)).reshape(pool.inside.shape)
        score = np.array([_best_quarter(r[i]) for r, i in zip(regions, pool.inside, strict=True)])
        parts = {"regions": score, "uncertainty": pool.tile_mean(entropy(teacher)).astype(np.float64)}
        return take_top(pool, budget, score, parts)


def _mean_posterior(pool: PoolView) -> Floats:
    """Mean MC-dropout posterior, float32 [n, m, C]."""
    total, number = np.zeros((), dtype=np.float64), 0
    for p in pool.dropout_posteriors():
        total, number = total + p, number + 1
    return np.asarray(total / number, dtype=np.float32)


def _best_quarter(values: NDArray[np.float64]) -> float:
    """Mean of the largest quarter of some values, at least of one."""
    keep = max(1, len(values) // 4)
    return float(np.partition(values, len(values) - keep)[len(values) - keep :].mean())
