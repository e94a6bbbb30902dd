"""TypiClust: the most typical tile of each cluster without a drawn one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import PoolView, Selection, check_budget, report
from aczerots.selection.clusters import Points, kmeans, owners, square_distances, unit
from aczerots.selection.limits import Allowance

_MOST_CLUSTERS = 500
_SMALL_CLUSTER = 5
_NEIGHBOURS = 20
_REFERENCE = 2000
_SAMPLE = 8192
_PER_CLUSTER = 32
_STEPS = 6


def typicality(points: Points, reference: Points, neighbours: int, *, exact: bool = True) -> NDArray[np.float64]:
    """One over the mean distance to the nearest reference points other than itself (Hacohen et al., ICML 2022).

    Args:
        points: Points [n, d]; the first of them are the reference points, in their order.
        reference: Points [r, d].
        neighbours: Number of neighbours; all others where there are fewer. Without any, the result is 0.
        exact: Compute in float64 where the points are few, so that rounding does not decide ties.
    """
    k = min(neighbours, len(reference) - 1)
    if k < 1:
        return np.zeros(len(points))
    if exact and len(points) <= _REFERENCE:
        points, reference = points.astype(np.float64), reference.astype(np.float64)
    out = np.empty(len(points))
    for i in range(0, len(points), _REFERENCE):
        square = square_distances(points[i : i + _REFERENCE], reference)
        own = np.arange(i, min(i + len(square), len(reference)))
        # A point is not its own neighbour.
        square[own - i, own] = np.inf
        near = np.sqrt(np.partition(square, k - 1, axis=1)[:, :k])
        out[i : i + _REFERENCE] = 1.0 / (near.sum(axis=1, dtype=np.float64) / k + 1e-5)
    return out


class TypiclustStrategy:
    """The most typical tile of each cluster without a drawn tile, largest first (Hacohen et al., ICML 2022).

    k-means of the unit mean features of tiles makes as many clusters as there are tiles drawn and asked for, at most
    500. In pools of more than 8192 tiles (or 32 per cluster) the centres are those of a sample of that size.
    """

    name = "typiclust"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the most typical tile of each cluster in turn; ``rng`` draws the first centres."""
        check_budget(budget)
        points, rank = unit(pool.tile_features()), pool.rank
        want = min(budget, len(pool.candidates))
        clusters = min(_MOST_CLUSTERS, int(pool.labelled.sum()) + want)
        owner = _clustered(pool, points, clusters, rng)
        # Tiles by cluster, and within one by key.
        order = np.lexsort((rank, owner))
        score, queues = np.zeros(len(pool)), []
        for group in np.split(order, np.flatnonzero(np.diff(owner[order])) + 1):
            free = group[~pool.labelled[group]]
            if len(free):
                near, few = points[free], len(pool) <= _SAMPLE
                score[free] = typicality(near, near[:_REFERENCE], min(_NEIGHBOURS, len(free) // 2), exact=few)
            best_last = free[np.lexsort((rank[free], -score[free]))][::-1].tolist()
            # Clusters with the fewest drawn tiles first, then the largest.
            place = len(group) - len(free), -len(group), int(rank[group[0]])
            queues.append((place, best_last, len(group) < _SMALL_CLUSTER))
        tiles = _in_turn([(queue, small) for _, queue, small in sorted(queues)], want, pool.allowance())
        return report(pool, tiles, score[tiles], {"typicality": score})


def _in_turn(queues: list[tuple[list[int], bool]], want: int, allowance: Allowance) -> NDArray[np.intp]:
    """The last tile of each queue, then the next of each, until there are ``want`` or none is left."""
    chosen: list[int] = []
    while len(chosen) < want:
        # Small clusters come last, when no other has a tile left.
        large = [q for q, small in queues if q and not small] or [q for q, _ in queues if q]
        if not large:
            break
        for queue in large:
            while queue and not allowance.open[queue[-1]]:
                queue.pop()
            if queue and len(chosen) < want:
                chosen.append(queue.pop())
                allowance.take(chosen[-1])
    return np.array(chosen, dtype=np.intp)


def _clustered(pool: PoolView, points: Points, clusters: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Cluster of each tile [n]."""
    most = max(_SAMPLE, _PER_CLUSTER * clusters)
    if len(pool) <= most:
        return kmeans(points, clusters, lambda: pool.draw(rng))[1]
    keep = np.argpartition(pool.draw(rng), most)[:most]
    keep = keep[np.argsort(pool.rank[keep])]
    centres, _ = kmeans(points[keep], clusters, lambda: rng.random(1), _STEPS)
    return owners(points, centres)
