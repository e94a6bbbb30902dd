"""Greedy choice of tiles by a sum of terms whose gains never grow."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import Floats
from aczerots.selection.coverage import CoverageState, DiversityState

TERMS = ("uncertainty", "diversity", "coverage")


@dataclass(frozen=True)
class Choice:
    """One chosen tile with its score and the scaled parts at that moment."""

    tile: int
    score: float
    parts: dict[str, float]


class LazyGreedy:
    """Greedy maximisation with stale upper bounds in a heap.

    Args:
        weights: Weight of each term in use.
        uncertain: Uncertainty of each tile, float [n].
        diversity: Distances with everything labelled already drawn.
        coverage: Coverage with everything labelled already drawn.
        cost: What drawing a tile costs, float [n], by which gains are divided; None divides by nothing.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        uncertain: NDArray[np.float64],
        diversity: DiversityState,
        coverage: CoverageState,
        cost: Floats | None,
    ) -> None:
        self.weights, self.uncertain, self.cost = weights, uncertain, cost
        self.diversity, self.coverage = diversity, coverage
        self.scale = {"uncertainty": 1.0, "diversity": 1.0, "coverage": 1.0}

    def _parts(self, tile: int) -> dict[str, float]:
        """Scaled parts of the gain of ``tile`` given what is chosen."""
        raw = {
            "uncertainty": float(self.uncertain[tile]),
            "diversity": self.diversity.gain(tile),
            "coverage": self.coverage.gain(tile),
        }
        return {k: v * self.scale[k] for k, v in raw.items()}

    def _score(self, tile: int, parts: dict[str, float]) -> float:
        """Weighted sum of the terms in use, per cost if asked for."""
        total = sum(weight * parts[k] for k, weight in self.weights.items())
        return total / float(self.cost[tile]) if self.cost is not None else total

    def run(self, candidates: NDArray[np.intp], budget: int) -> tuple[dict[str, NDArray[np.float64]], list[Choice]]:
        """(scaled parts of all candidates at the start [len(candidates)] each, the chosen tiles in order)."""
        first = [self._parts(int(t)) for t in candidates]
        for k in ("diversity", "coverage"):
            top = max((p[k] for p in first), default=0.0)
            self.scale[k] = 1.0 / top if top > 1e-12 else 0.0
        scaled = [{k: v * self.scale[k] for k, v in p.items()} for p in first]
        # Python's heap is a min-heap; ties go to the lower position.
        heap = [(-self._score(int(t), p), int(t), 0, p) for t, p in zip(candidates, scaled, strict=True)]
        heapq.heapify(heap)
        chosen: list[Choice] = []
        while heap and len(chosen) < budget:
            bound, tile, stamp, parts = heapq.heappop(heap)
            if stamp < len(chosen):
                parts = self._parts(tile)
                heapq.heappush(heap, (-self._score(tile, parts), tile, len(chosen), parts))
                continue
            chosen.append(Choice(tile, -bound, parts))
            self.diversity.add(tile)
            self.coverage.add(tile)
        return {k: np.array([p[k] for p in scaled]) for k in TERMS}, chosen
