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
    """One over the mean distance to the nearest reference points, itself left out (Hacohen et al., 2022).

    Args:
        points: Points [n, d]; the first of them are the reference points, in their order.
        reference: Points [r, d].
        neighbours: K; all but itself where there are fewer.
        exact: Compute in float64 where the points are few: rounding in float32 would decide ties.

    Returns:
        [n]; 0 where there is no neighbour.
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
        # Itself is no neighbour of a point.
        square[own - i, own] = np.inf
        near = np.sqrt(np.partition(square, k - 1, axis=1)[:, :k])
        out[i : i + _REFERENCE] = 1.0 / (near.sum(axis=1, dtype=np.float64) / k + 1e-5)
    return out


class TypiclustStrategy:
    """The most typical tile of each cluster that has nothing drawn yet, largest first (Hacohen et al., 2022).

    There are as many clusters as tiles drawn and asked for, at most 500, of unit mean features of tiles. In pools of
    more than 8192 tiles, and 32 per cluster, the centres are those of a sample of so many.
    """

    name = "typiclust"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the most typical tile of each cluster in turn; ``rng`` draws the first centres."""
        check_budget(budget)
        points, rank = unit(pool.tile_features()), pool.rank
        want = min(budget, len(pool.candidates))
        clusters = min(_MOST_CLUSTERS, int(pool.labelled.sum()) + want)
        owner = _clustered(pool, points, clusters, rng)
        # Tiles of one cluster stand together, in the order of their keys.
        groups = _split(np.lexsort((rank, owner)), owner)
        score = self._typicality(pool, points, groups)
        queues = self._queues(pool, groups, rank, score)
        tiles = self._in_turn(queues, want, pool.allowance())
        return report(pool, tiles, score[tiles], {"typicality": score})

    @staticmethod
    def _in_turn(queues: list[tuple[list[int], bool]], want: int, allowance: Allowance) -> NDArray[np.intp]:
        """One tile of each cluster, then the next of each, until there are ``want`` or none is left."""
        chosen: list[int] = []
        while len(chosen) < want:
            # Small clusters are left for the end, when no other has a tile to give.
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

    @staticmethod
    def _typicality(pool: PoolView, points: Points, groups: list[NDArray[np.intp]]) -> NDArray[np.float64]:
        """Typicality of each tile among the tiles of its cluster that are not drawn; 0 for drawn ones."""
        score = np.zeros(len(pool))
        for group in groups:
            mine = group[~pool.labelled[group]]
            if len(mine):
                near = points[mine]
                few = len(pool) <= _SAMPLE
                score[mine] = typicality(near, near[:_REFERENCE], min(_NEIGHBOURS, len(mine) // 2), exact=few)
        return score

    @staticmethod
    def _queues(
        pool: PoolView, groups: list[NDArray[np.intp]], rank: NDArray[np.intp], score: NDArray[np.float64]
    ) -> list[tuple[list[int], bool]]:
        """(tiles to take from the end, whether it is small) per cluster: fewest drawn first, then the largest."""
        queues = []
        for group in groups:
            free = group[~pool.labelled[group]]
            order = free[np.lexsort((rank[free], -score[free]))][::-1].tolist()
            key = len(group) - len(free), -len(group), int(rank[group[0]])
            queues.append((key, (order, len(group) < _SMALL_CLUSTER)))
        return [queue for _, queue in sorted(queues, key=lambda pair: pair[0])]


def _clustered(pool: PoolView, points: Points, clusters: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Cluster of each tile [n]."""
    most = max(_SAMPLE, _PER_CLUSTER * clusters)
    if len(pool) <= most:
        return kmeans(points, clusters, lambda: pool.draw(rng))[1]
    keep = np.argpartition(pool.draw(rng), most)[:most]
    keep = keep[np.argsort(pool.rank[keep])]
    centres, _ = kmeans(points[keep], clusters, lambda: rng.random(1), _STEPS)
    return owners(points, centres)


def _split(order: NDArray[np.intp], owner: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Positions of each cluster that has any, ascending by cluster, from positions [n] sorted by cluster."""
    return np.split(order, np.flatnonzero(np.diff(owner[order])) + 1)
