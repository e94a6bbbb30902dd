"""Core-set: the tile farthest from everything drawn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import PoolView, Selection, check_budget, report
from aczerots.selection.clusters import Points, nearest_distance
from aczerots.selection.lazy import LazyMaximum


class CoresetStrategy:
    """k-center greedy: always the tile farthest from everything drawn (Sener and Savarese, ICLR 2018).

    Distances are Euclidean between the mean features of tiles. The paper starts from labelled points; with nothing
    drawn the first tile is the one farthest from the mean of the pool.
    """

    name = "coreset"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the farthest tile again and again; ``rng`` is not used."""
        check_budget(budget)
        points, rank = pool.tile_features(), pool.rank
        # Centred, because squares of small numbers lose the fewest digits.
        points -= points.mean(axis=0, dtype=np.float64).astype(np.float32)
        cold, want = not pool.labelled.any(), min(budget, len(pool.candidates))
        origin = np.zeros((1, points.shape[1]), dtype=np.float32)
        start = nearest_distance(points, origin if cold else points[pool.labelled]).astype(np.float64)
        nearest, chosen, score, allowance = start, list[int](), list[float](), pool.allowance()
        if cold and want:
            chosen.append(int(np.lexsort((rank, -start))[0]))
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
    """(tile, distance) of the farthest tile until ``want`` are chosen; the caller appends each to ``chosen``.

    Distances only fall, so most tiles of a large pool are never compared with most of the chosen ones.

    Args:
        points: Points [n, d].
        nearest: Distance of each [n] to the nearest drawn or chosen one; the caller may set it to -inf at any time for
            tiles that cannot be chosen.
        rank: Settles ties.
        chosen: Tiles chosen so far.
        want: Number of tiles in all.
    """
    known = np.full(len(points), len(chosen))
    square = np.einsum("nd,nd->n", points, points, dtype=np.float64)
    # Rows of the chosen tiles, doubled and in float64, are computed once.
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
