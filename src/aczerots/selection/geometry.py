"""Baselines that look only at where tiles lie: farthest, most typical, covering the most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import Pool, Selection, check_budget, report
from aczerots.selection.clusters import Points, kmeans, nearest_distance, square_distances, unit

_MOST_CLUSTERS = 500
_SMALL_CLUSTER = 5
_NEIGHBOURS = 20
_REFERENCE = 2000
_DEMAND = 4096


def first_best(values: NDArray[np.floating], rank: NDArray[np.intp]) -> int:
    """Position of the largest value; among equals the one with the lowest rank."""
    best = np.flatnonzero(values == values.max())
    return int(best[rank[best].argmin()])


class CoresetStrategy:
    """k-center greedy: always the tile farthest from everything drawn (Sener and Savarese, 2018).

    Distances are Euclidean between the mean features of tiles. The paper starts from labelled points; with nothing
    drawn the first tile is the one farthest from the mean of the pool.
    """

    name = "coreset"

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`; the answer does not depend on ``rng``."""
        check_budget(budget)
        del rng
        points, rank = pool.tile_features(), pool.rank
        cold = not pool.labelled.any()
        start = nearest_distance(points, points.mean(axis=0)[None] if cold else points[pool.labelled])
        nearest, chosen, score = start.copy(), list[int](), list[float]()
        for _ in range(min(budget, len(pool.candidates))):
            free = np.where(pool.labelled, -np.inf, nearest)
            free[chosen] = -np.inf
            tile = first_best(free, rank)
            chosen.append(tile)
            score.append(float(free[tile]))
            distance = nearest_distance(points, points[[tile]])
            nearest = distance if cold and len(chosen) == 1 else np.minimum(nearest, distance)
        return report(pool, np.array(chosen, dtype=np.intp), np.array(score), {"distance": start})


def typicality(points: Points, reference: Points, neighbours: int) -> NDArray[np.float64]:
    """One over the mean distance to the nearest reference points, itself left out (Hacohen et al., 2022).

    Args:
        points: Points [n, d]; all of them are also in ``reference``.
        reference: Points [r, d].
        neighbours: K; all but itself where there are fewer.

    Returns:
        [n]; 0 where there is no neighbour.
    """
    k = min(neighbours, len(reference) - 1)
    if k < 1:
        return np.zeros(len(points))
    out = np.empty(len(points))
    for i in range(0, len(points), _REFERENCE):
        part = slice(i, i + _REFERENCE)
        near = np.partition(np.sqrt(square_distances(points[part], reference)), k, axis=1)[:, : k + 1]
        # The nearest reference point is the point itself, at distance 0.
        out[part] = 1.0 / (near.sum(axis=1) / k + 1e-5)
    return out


class TypiclustStrategy:
    """The most typical tile of each cluster that has nothing drawn yet, largest first (Hacohen et al., 2022).

    There are as many clusters as tiles drawn and asked for, at most 500, of unit mean features of tiles.
    """

    name = "typiclust"

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`."""
        check_budget(budget)
        points = unit(pool.tile_features())
        want = min(budget, len(pool.candidates))
        clusters = min(_MOST_CLUSTERS, int(pool.labelled.sum()) + want)
        _, owner = kmeans(points, clusters, lambda: pool.draw(rng))
        score = self._typicality(pool, points, owner)
        queues = self._queues(pool, owner, score)
        chosen: list[int] = []
        while len(chosen) < want:
            # Small clusters are left for the end, when no other has a tile to give.
            large = [q for q, small in queues if q and not small] or [q for q, _ in queues if q]
            for queue in large[: want - len(chosen)]:
                chosen.append(queue.pop(0))
        tiles = np.array(chosen, dtype=np.intp)
        return report(pool, tiles, score[tiles], {"typicality": score})

    @staticmethod
    def _typicality(pool: Pool, points: Points, owner: NDArray[np.intp]) -> NDArray[np.float64]:
        """Typicality of each tile among the tiles of its cluster that are not drawn; 0 for drawn ones."""
        score = np.zeros(len(pool))
        for c in np.unique(owner[pool.candidates]):
            mine = pool.candidates[owner[pool.candidates] == c]
            reference = mine[np.argsort(pool.rank[mine])][:_REFERENCE]
            neighbours = min(_NEIGHBOURS, len(mine) // 2)
            score[mine] = typicality(points[mine], points[reference], neighbours)
        return score

    @staticmethod
    def _queues(pool: Pool, owner: NDArray[np.intp], score: NDArray[np.float64]) -> list[tuple[list[int], bool]]:
        """(tiles to take in turn, whether it is small) per cluster: fewest drawn first, then the largest."""
        queues = []
        for c in np.unique(owner):
            free = pool.candidates[owner[pool.candidates] == c]
            drawn, size = int((pool.labelled & (owner == c)).sum()), int((owner == c).sum())
            order = free[np.lexsort((pool.rank[free], -score[free]))].tolist()
            tie = int(pool.rank[owner == c].min())
            queues.append(((drawn, -size, tie), (order, size < _SMALL_CLUSTER)))
        return [queue for _, queue in sorted(queues, key=lambda pair: pair[0])]


def pure_radius(points: Points, owner: NDArray[np.intp], purity: float) -> float:
    """The largest radius at which a share ``purity`` of the balls around points holds one cluster only.

    The ball around a point is pure up to its distance to the nearest point of another cluster, so the radius is a
    quantile of these distances (Yehuda et al., 2022, without their search over radii).

    Args:
        points: Points [n, d].
        owner: Cluster of each [n].
        purity: Share, 0..1.

    Returns:
        The radius; 0 where there is one cluster only.
    """
    other = np.full(len(points), np.inf)
    for c in np.unique(owner):
        mine = owner == c
        if not mine.all():
            other[mine] = nearest_distance(points[mine], points[~mine])
    return float(np.quantile(other, 1.0 - purity)) if np.isfinite(other).all() else 0.0


class ProbcoverStrategy:
    """The tile whose ball covers most of what no drawn tile covers (Yehuda et al., 2022).

    Features are unit means of tiles; the radius comes from the purity of balls under k-means with one cluster per
    class. In large pools at most 4096 tiles, chosen by key, ask to be covered, so that the cost stays linear.
    When all is covered, tiles are taken at random.

    Args:
        purity: Share of the balls that must be pure.
    """

    name = "probcover"

    def __init__(self, purity: float = 0.95) -> None:
        self.purity = purity

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`."""
        check_budget(budget)
        points, rank = unit(pool.tile_features()), pool.rank
        keep = np.flatnonzero(rank < _DEMAND)
        draws = pool.draw(rng)
        _, owner = kmeans(points[keep], len(pool.seen), lambda: pool.draw(rng)[keep])
        # Rounding must not let a tile miss itself.
        radius = max(pure_radius(points[keep], owner, self.purity), 1e-6)
        inside = np.concatenate(
            [square_distances(points[i : i + _DEMAND], points[keep]) < radius**2 for i in range(0, len(pool), _DEMAND)]
        )
        inside[keep, np.arange(len(keep))] = True
        bare = ~inside[pool.labelled].any(axis=0)
        start = inside[:, bare].sum(axis=1).astype(np.float64)
        gain, chosen, score = start.copy(), list[int](), list[float]()
        for _ in range(min(budget, len(pool.candidates))):
            free = np.where(pool.labelled, -np.inf, gain + 0.5 * draws * (gain.max() <= 0))
            free[chosen] = -np.inf
            tile = first_best(free, rank)
            chosen.append(tile)
            score.append(float(gain[tile]))
            gain -= inside[:, bare & inside[tile]].sum(axis=1)
            bare &= ~inside[tile]
        return report(pool, np.array(chosen, dtype=np.intp), np.array(score), {"covers": start})
