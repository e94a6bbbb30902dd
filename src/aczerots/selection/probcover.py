"""ProbCover: the tile whose ball covers most of what no drawn tile covers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import PoolView, Selection, check_budget, report
from aczerots.selection.clusters import Points, kmeans, nearest_distance, square_distances, unit
from aczerots.selection.lazy import LazyMaximum

_DEMAND = 4096
_WORD = 64
_ROUNDING = 1e-6


def pure_radius(points: Points, owner: NDArray[np.intp], purity: float) -> float:
    """The largest radius at which a fraction ``purity`` of the balls around points [n, d] holds one cluster only.

    The ball around a point is pure up to its distance to the nearest point of another cluster, so the radius is a
    quantile of these distances (Yehuda et al., 2022, without their search over radii); 0 where there is one cluster.
    """
    other = np.full(len(points), np.inf)
    for c in np.unique(owner):
        mine = owner == c
        if not mine.all():
            other[mine] = nearest_distance(points[mine], points[~mine])
    return float(np.quantile(other, 1.0 - purity)) if np.isfinite(other).all() else 0.0


class ProbcoverStrategy:
    """The tile whose ball covers most tiles that no drawn tile covers (Yehuda et al., NeurIPS 2022).

    Features are unit means of tiles; the radius is chosen by :func:`pure_radius` for k-means with one cluster per
    class. In large pools only 4096 tiles, chosen by key, must be covered, so that the cost stays linear. When all are
    covered, tiles are chosen at random.

    Args:
        purity: Fraction of the balls that must be pure.
    """

    name = "probcover"

    def __init__(self, purity: float = 0.95) -> None:
        self.purity = purity

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the tile that covers most again and again, then tiles at random."""
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
    # The radius is a distance between two points, which lie on the border and count as outside despite rounding; but
    # equal points must count as inside.
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
