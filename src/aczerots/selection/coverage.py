"""What is drawn and chosen so far: which regions of the pool it covers, and how far it is from each tile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aczerots.selection.base import Floats
from aczerots.selection.diversity import best_similarity


@dataclass
class CoverageState:
    """Facility location over region features with class-balanced demand.

    Every region of the pool demands to be represented. Its demand is ``sum_c p_c / P_c`` with P_c the total
    posterior of class c, so that a rare class - seen or unseen - weighs as much as a common one, times
    ``0.3 + entropy``, so that what the model is unsure of weighs more. Monotone and submodular.

    Attributes:
        points: Unit demand vectors [p, d].
        demand: Their demand, sums to 1, [p].
        covered: Best similarity to anything drawn so far [p].
        supply: Unit region features of all tiles [n, r, d].
    """

    points: Floats
    demand: Floats
    covered: Floats
    supply: Floats

    def gain(self, tile: int) -> float:
        """Rise of the covered demand if ``tile`` were drawn."""
        best = best_similarity(self.points, self.supply[tile])
        return float(self.demand @ np.maximum(best - self.covered, 0.0))

    def add(self, tile: int) -> None:
        """Note that ``tile`` will be drawn."""
        np.maximum(self.covered, best_similarity(self.points, self.supply[tile]), out=self.covered)


@dataclass
class DiversityState:
    """Distance of a tile's mean region to the nearest drawn tile (k-center; Sener and Savarese, 2018).

    Attributes:
        means: Unit tile features [n, d].
        nearest: 1 - cosine to the nearest drawn tile, [n]; 1 where nothing is drawn.
    """

    means: Floats
    nearest: Floats

    def gain(self, tile: int) -> float:
        """Distance of ``tile`` to what is drawn, 0 to 1."""
        return float(self.nearest[tile])

    def add(self, tile: int) -> None:
        """Note that ``tile`` will be drawn."""
        np.minimum(self.nearest, (1.0 - self.means @ self.means[tile]) / 2.0, out=self.nearest)


def class_demand(posterior: Floats, spread: Floats) -> Floats:
    """Demand of regions, float32 [p], sum 1; see :class:`CoverageState`.

    Args:
        posterior: Class posterior [p, C].
        spread: Normalised entropy [p].
    """
    total = np.maximum(posterior.sum(axis=0), 1e-9)
    demand = (posterior / total).sum(axis=1) * (0.3 + spread)
    out: Floats = (demand / demand.sum()).astype(np.float32)
    return out
