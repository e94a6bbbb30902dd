"""Baselines that look only at where tiles lie: farthest, most typical, covering the most."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import PoolView, Selection, check_budget, report
from aczerots.selection.clusters import Points, kmeans, nearest_distance, owners, square_distances, unit
from aczerots.selection.lazy import LazyMaximum
from aczerots.selection.limits import Allowance

_MOST_CLUSTERS = 500
_SMALL_CLUSTER = 5
_NEIGHBOURS = 20
_REFERENCE = 2000
_DEMAND = 4096
_SAMPLE = 8192
_PER_CLUSTER = 32
_STEPS = 6
_WORD = 64
_ROUNDING = 1e-6


def first_best(values: NDArray[np.floating], rank: NDArray[np.intp]) -> int:
    """Position of the largest value; among equals the one with the lowest rank."""
    best = np.flatnonzero(values == values.max())
    return int(best[rank[best].argmin()])


class CoresetStrategy:
    """k-center greedy: always the tile farthest from everything drawn (Sener and Savarese, 2018).

    Distances are Euclidean between the mean features of tiles. The paper starts from labelled points; with nothing
    drawn the first tile is the one farthest from the mean of the pool. Distances to what is drawn only fall, so
    most tiles of a large pool are never compared with most of the chosen ones.
    """

    name = "coreset"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`; the answer does not depend on ``rng``."""
        check_budget(budget)
        del rng
        points, rank = pool.tile_features(), pool.rank
        # Squares of numbers around 0 lose the fewest digits.
        points -= points.mean(axis=0, dtype=np.float64).astype(np.float32)
        cold, want = not pool.labelled.any(), min(budget, len(pool.candidates))
        origin = np.zeros((1, points.shape[1]), dtype=np.float32)
        start = nearest_distance(points, origin if cold else points[pool.labelled]).astype(np.float64)
        nearest, chosen, score, allowance = start, list[int](), list[float](), pool.allowance()
        if cold and want:
            chosen.append(first_best(start, rank))
            score.append(float(start[chosen[0]]))
            allowance.take(chosen[0])
            nearest = nearest_distance(points, points[chosen]).astype(np.float64)
        nearest = np.where(allowance.open, nearest, -np.inf)
        for tile, distance in _farthest(points, nearest, rank, chosen, want):
            chosen.append(tile)
            score.append(distance)
            allowance.take(tile)
            if allowance.limited:
                nearest[~allowance.open] = -np.inf
        return report(pool, np.array(chosen, dtype=np.intp), np.array(score), {"distance": start})


def _farthest(
    points: Points, nearest: NDArray[np.float64], rank: NDArray[np.intp], chosen: list[int], want: int
) -> Iterator[tuple[int, float]]:
    """(tile, distance) of the tile farthest from what is chosen, until ``want`` are; the caller appends to ``chosen``.

    Args:
        points: Points [n, d].
        nearest: Distance of each [n] to the nearest drawn or chosen one; -inf for those that cannot be chosen, which
            the caller may say later too.
        rank: Settles ties.
        chosen: What is chosen, read at every step.
        want: How many in all.
    """
    known = np.full(len(points), len(chosen))
    square = np.einsum("nd,nd->n", points, points, dtype=np.float64)
    # Rows of what is chosen, doubled and in float64, are made once.
    twice = np.empty((want, points.shape[1]))
    made = 0

    def present(positions: NDArray[np.intp]) -> NDArray[np.float64]:
        nonlocal made
        twice[made : len(chosen)] = 2.0 * points[chosen[made:]].astype(np.float64)
        made = len(chosen)
        first = known[positions].min()
        known[positions] = made
        if first == made:
            return nearest[positions]
        away = square[chosen[first:]] - points[positions].astype(np.float64) @ twice[first:made].T
        distance = np.sqrt(np.maximum(square[positions] + away.min(axis=1), 0.0))
        return np.asarray(np.minimum(nearest[positions], distance))

    search = LazyMaximum(nearest, rank, present)
    while len(chosen) < want and (found := search.take()) is not None:
        yield found


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
        """See :class:`~aczerots.selection.base.Strategy`."""
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

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`."""
        check_budget(budget)
        points, rank = unit(pool.tile_features()), pool.rank
        keep = np.flatnonzero(rank < _DEMAND)
        draws = pool.draw(rng)
        _, owner = kmeans(points[keep], len(pool.seen), lambda: pool.draw(rng)[keep])
        balls = _balls(points, keep, pure_radius(points[keep].astype(np.float64), owner, self.purity))
        bare = ~np.bitwise_or.reduce(balls[pool.labelled], axis=0)
        start = _covered(balls, bare)
        chosen, score = list[int](), list[float]()
        search = LazyMaximum(np.where(pool.labelled, -np.inf, start), rank, lambda p: _covered(balls[p], bare))
        allowance = pool.allowance()
        while len(chosen) < budget and (found := search.take()) is not None and found[1] > 0:
            chosen.append(found[0])
            score.append(found[1])
            bare &= ~balls[found[0]]
            allowance.take(found[0])
            if allowance.limited:
                search.only(allowance.open)
        chosen += allowance.take_in_order(np.lexsort((rank, -draws)), budget - len(chosen)).tolist()
        score += [0.0] * (len(chosen) - len(score))
        return report(pool, np.array(chosen, dtype=np.intp), np.array(score), {"covers": start})


def _balls(points: Points, keep: NDArray[np.intp], radius: float) -> NDArray[np.uint64]:
    """Which of the points ``keep`` lie in the ball around each point [n, d], as bits, uint64 [n, w]."""
    words = -(-len(keep) // _WORD)
    out = np.zeros((len(points), words * 8), dtype=np.uint8)
    own = np.full(len(points), -1)
    own[keep] = np.arange(len(keep))
    others = points[keep]
    # The radius is a distance between two points; they are on the border, so outside, whatever rounding says. And
    # rounding must not let a tile miss its equals.
    square = np.float32(max(radius**2 - _ROUNDING, _ROUNDING))
    for i in range(0, len(points), _DEMAND):
        inside = square_distances(points[i : i + _DEMAND], others) < square
        mine = own[i : i + _DEMAND]
        inside[np.flatnonzero(mine >= 0), mine[mine >= 0]] = True
        packed = np.packbits(inside, axis=1)
        out[i : i + _DEMAND, : packed.shape[1]] = packed
    return out.view(np.uint64)


def _covered(balls: NDArray[np.uint64], bare: NDArray[np.uint64]) -> NDArray[np.float64]:
    """How many bare points each ball [n, w] holds, [n]."""
    out = np.empty(len(balls))
    for i in range(0, len(balls), _DEMAND):
        out[i : i + _DEMAND] = np.bitwise_count(balls[i : i + _DEMAND] & bare).sum(axis=1, dtype=np.int64)
    return out
