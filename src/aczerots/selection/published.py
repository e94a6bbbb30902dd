"""Re-implementations of published criteria, as far as their papers allow without their training.

DEAL, MADA, S4AL and PBAL come with networks and training schemes of their own. Here every strategy works on the
same segmenter, so only how they choose is re-implemented; each class says what differs. MADA and PBAL choose for a
target domain given a labelled source domain: here the drawn tiles are the source and the others the target.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import Floats, PoolView, Selection, check_budget, take_top
from aczerots.selection.clusters import kmeans, square_distances
from aczerots.selection.difficulty import difficulty
from aczerots.selection.regions import region_sums
from aczerots.selection.uncertainty import entropy
from aczerots.taxonomy import IGNORE


class DealStrategy:
    """DEAL: mean of predictive entropy times learned semantic difficulty (Xie et al., ACCV 2020; their DS).

    The difficulty branch is kept (:mod:`~aczerots.selection.difficulty`), but it is fitted after the segmenter
    instead of with it, and the segmenter does not learn from it.
    """

    name = "deal"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`; the answer does not depend on ``rng``."""
        check_budget(budget)
        del rng
        posterior = pool.posterior()
        hard, doubt = difficulty(pool, posterior), entropy(posterior)
        cells: dict[str, NDArray[np.floating]] = {"difficulty": hard, "uncertainty": doubt, "product": hard * doubt}
        means = {k: pool.tile_mean(v).astype(np.float64) for k, v in cells.items()}
        return take_top(pool, budget, means["product"], means)


def class_centroids(pool: PoolView, classes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Mean feature per class of each tile, one after the other; zero for a class that the tile does not hold.

    Args:
        pool: The pool.
        classes: Class of each cell [n, m]; cells with an id beyond the classes are left out.

    Returns:
        Float64 [n, C * d_p].
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
    others. Anchors are k-means centres of the drawn tiles. Their adversarial warm-up and the alignment to soft
    anchors in training are left out. With nothing drawn the anchors are those of the whole pool.

    Args:
        anchors: Number of anchors, 10 in the paper.
    """

    name = "mada"

    def __init__(self, anchors: int = 10) -> None:
        self.anchors = anchors

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`."""
        check_budget(budget)
        predicted = pool.posterior().argmax(axis=-1)
        known = pool.known_labels()
        drawn = pool.labelled & (known != IGNORE).any(axis=1)
        points = class_centroids(pool, np.where(drawn[:, None], known, predicted))
        source = np.flatnonzero(pool.labelled if pool.labelled.any() else ~pool.labelled)
        centres, _ = kmeans(points[source], self.anchors, lambda: pool.draw(rng)[source])
        score = np.sqrt(square_distances(points, centres).min(axis=1))
        return take_top(pool, budget, score, {"anchor_distance": score})


def rarity(pool: PoolView) -> NDArray[np.float64]:
    """Weight of each class, [C], mean 1: one over the share it has of the drawn cells, smoothed by one part.

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
        """See :class:`~aczerots.selection.base.Strategy`; the answer does not depend on ``rng``."""
        check_budget(budget)
        del rng
        teacher = _mean(pool)
        cells = entropy(teacher) * rarity(pool)[teacher.argmax(axis=-1)]
        shape = (len(pool), *pool.rows_and_columns, 1)
        weight = pool.inside.astype(np.float64)
        sums = region_sums((cells * weight).reshape(shape), 1)
        regions = (sums / np.maximum(region_sums(weight.reshape(shape), 1), 1.0)).reshape(pool.inside.shape)
        score = np.array([_best_quarter(r[i]) for r, i in zip(regions, pool.inside, strict=True)])
        parts = {"regions": score, "uncertainty": pool.tile_mean(entropy(teacher)).astype(np.float64)}
        return take_top(pool, budget, score, parts)


def _mean(pool: PoolView) -> Floats:
    """Mean posterior over the disturbed states, float32 [n, m, C]."""
    total, number = np.zeros((), dtype=np.float64), 0
    for p in pool.disturbed():
        total, number = total + p, number + 1
    return np.asarray(total / number, dtype=np.float32)


def _best_quarter(values: NDArray[np.float64]) -> float:
    """Mean of the largest quarter of some values, at least of one."""
    keep = max(1, len(values) // 4)
    return float(np.partition(values, len(values) - keep)[len(values) - keep :].mean())


class PbalStrategy:
    """PBAL: where predictions change under perturbation (Peng et al., Pattern Recognition 2024).

    The paper compares an image with an augmented one; here, where selection sees no images, the perturbation is
    dropout in the decoder, and the discrepancy is ``mean_k KL(p || p_k)``. The prototype-guided pseudo-labels of the
    paper serve its training and are left out. A model without dropout has no discrepancy: tiles are taken by key.
    """

    name = "pbal"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`; the answer does not depend on ``rng``."""
        check_budget(budget)
        del rng
        score = pool.tile_mean(discrepancy(pool)).astype(np.float64)
        return take_top(pool, budget, score, {"discrepancy": score})


def discrepancy(pool: PoolView) -> NDArray[np.float64]:
    """Mean KL divergence in nats from the posterior to those of the disturbed states, [n, m]."""
    p = np.maximum(pool.posterior().astype(np.float64), 1e-12)
    total, number = np.zeros(p.shape[:2]), 0
    for other in pool.disturbed():
        total += (p * (np.log(p) - np.log(np.maximum(other.astype(np.float64), 1e-12)))).sum(axis=-1)
        number += 1
    return np.where(total / number > 1e-9, total / number, 0.0)
