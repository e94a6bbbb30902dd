"""Coverage of the pool by drawn and chosen tiles, and the distance of each tile to them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import Floats
from aczerots.selection.clusters import best_cosine, owners, sums, unit

_CELLS = 32_768
"""Similarities that are computed at a time."""

_PER_GROUP, _ROUNDS = 64, 2


@dataclass
class CoverageState:
    """Facility location over region features with class-balanced demand; monotone and submodular.

    Every region of the pool demands to be represented. Its demand is ``sum_c p_c / P_c`` with P_c the total
    posterior of class c, so that a rare class - seen or unseen - weighs as much as a common one, times
    ``0.3 + entropy``, so that regions of which the model is unsure weigh more.

    Attributes:
        points: Demand vectors [p, d], of length 1 at most.
        demand: Their demand, sums to 1, [p].
        covered: Best similarity to anything drawn so far [p], at least 0.
        supply: Unit region features of all tiles [n, r, d], float32 or float16.
    """

    points: Floats
    demand: Floats
    covered: Floats
    supply: NDArray[np.floating]

    def __post_init__(self) -> None:
        """Transpose the points once, for fast products."""
        self._across = np.ascontiguousarray(self.points.T)

    def gains(self, tiles: NDArray[np.intp]) -> NDArray[np.float64]:
        """Rise of the covered demand [b] for each of some tiles [b] alone."""
        out = np.empty(len(tiles))
        # Similarities stay in a core's cache, but a product of fewer rows than half its depth is slow.
        width, depth = max(1, self._across.shape[1]), self._across.shape[0]
        rows = max(1, _CELLS // width, depth // 2)
        best = np.empty((rows, width), dtype=np.float32)
        similar = np.empty_like(best)
        for i in range(0, len(tiles), rows):
            supply = np.ascontiguousarray(self.supply[tiles[i : i + rows]].swapaxes(0, 1), dtype=np.float32)
            b, s = best[: supply.shape[1]], similar[: supply.shape[1]]
            b[:] = self.covered
            # One region of each tile at a time.
            for region in supply:
                np.matmul(region, self._across, out=s)
                np.maximum(b, s, out=b)
            b -= self.covered
            out[i : i + rows] = b @ self.demand
        return out

    def add(self, tile: int) -> None:
        """Count ``tile`` as drawn."""
        supply = self.supply[tile].astype(np.float32)
        np.maximum(self.covered, best_cosine(self.points, supply), out=self.covered)


@dataclass
class DiversityState:
    """Distance of a tile's mean region to the nearest drawn tile (k-center; Sener and Savarese, 2018).

    Attributes:
        means: Unit tile features [n, d].
        nearest: (1 - cosine) / 2 to the nearest drawn tile, [n]; 1 where nothing is drawn.
        chosen: Tiles chosen since, which ``nearest`` does not know of.
    """

    means: Floats
    nearest: Floats
    chosen: list[int] = field(default_factory=list)

    def gains(self, tiles: NDArray[np.intp]) -> NDArray[np.float64]:
        """Distance of some tiles [b] to what is drawn or chosen, 0 to 1, [b]."""
        nearest = self.nearest[tiles]
        if self.chosen:
            similar = best_cosine(self.means[tiles], self.means[self.chosen], -np.inf)
            nearest = np.minimum(nearest, (1.0 - similar) / 2.0)
        return nearest.astype(np.float64)

    def add(self, tile: int) -> None:
        """Count ``tile`` as drawn."""
        self.chosen.append(tile)


def distance_to_drawn(means: Floats, labelled: NDArray[np.bool_]) -> DiversityState:
    """The state of unit tile features [n, d] with the labelled tiles [n] drawn."""
    if not labelled.any():
        return DiversityState(means, np.ones(len(means), dtype=np.float32))
    nearest = (1.0 - best_cosine(means, means[labelled], -np.inf)) / 2.0
    return DiversityState(means, np.minimum(nearest, np.float32(1.0)))


def class_demand(posterior: Floats, spread: Floats) -> Floats:
    """Demand of regions as in :class:`CoverageState`, float32 [p], sum 1, from posterior [p, C] and entropy [p]."""
    total = np.maximum(posterior.sum(axis=0), 1e-9)
    demand = (posterior / total).sum(axis=1) * (0.3 + spread)
    return np.asarray(demand / demand.sum(), dtype=np.float32)


def condense(
    points: NDArray[np.floating], demand: Floats, groups: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """The means of groups of similar demand vectors, instead of all vectors.

    The best similarity of a mean is at most the mean of the best similarities of its group, and equals it where one
    tile is the most similar to them all. So groups represent the pool better than a sample of as many points. Of more
    than 64 points per group only so many are used, drawn in proportion to their demand.

    Args:
        points: Unit vectors [p, d].
        demand: Their demand, sums to 1, [p].
        groups: Maximum number of groups.
        rng: Draws points, and the groups' first centres.

    Returns:
        (mean vectors [g, d], of length 1 at most; their demand [g], sums to 1).
    """
    most = _PER_GROUP * groups
    if len(points) > most:
        total = np.cumsum(demand, dtype=np.float64)
        keep = np.searchsorted(total, (np.arange(most) + rng.random()) / most * total[-1])
        points, demand = points[np.minimum(keep, len(points) - 1)], np.full(most, 1.0 / most, dtype=np.float32)
    vectors = points.astype(np.float32)
    centres = vectors[rng.choice(len(vectors), min(groups, len(vectors)), replace=False)]
    for _ in range(_ROUNDS):
        owner = owners(vectors, centres)
        weight = np.bincount(owner, weights=demand, minlength=len(centres)).astype(np.float32)
        means = sums(vectors * demand[:, None], owner, len(centres))[weight > 0] / weight[weight > 0][:, None]
        centres = unit(means)
    return means, weight[weight > 0] / weight.sum()
