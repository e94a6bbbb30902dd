"""Greedy choice of tiles by a sum of terms whose gains never grow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import Floats
from aczerots.selection.coverage import CoverageState, DiversityState
from aczerots.selection.lazy import LazyMaximum
from aczerots.selection.limits import Allowance


@dataclass(frozen=True)
class Choice:
    """One chosen tile with its score and the scaled parts at that moment."""

    tile: int
    score: float
    parts: dict[str, float]


class LazyGreedy:
    """Greedy maximisation of the weighted sum of terms, lazily: the answer is the same as with all gains computed.

    Args:
        weights: Weight of each term in use.
        uncertain: Uncertainty of each tile, float [n].
        diversity: Distances with everything labelled already drawn.
        coverage: Coverage with everything labelled already drawn.
        cost: Annotation cost [n] by which gains are divided; None does not divide.
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

    def _parts(self, tiles: NDArray[np.intp]) -> dict[str, NDArray[np.float64]]:
        """Scaled parts of the gains of some tiles [b] given what is chosen, [b] each."""
        raw = {
            "uncertainty": self.uncertain[tiles],
            "diversity": self.diversity.gains(tiles),
            "coverage": self.coverage.gains(tiles),
        }
        return {k: v * self.scale[k] for k, v in raw.items()}

    def _score(self, tiles: NDArray[np.intp], parts: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Weighted sum of the terms in use, per cost if asked for, [b]."""
        total = np.zeros(len(tiles))
        for k, weight in self.weights.items():
            total += weight * parts[k]
        return total if self.cost is None else total / self.cost[tiles]

    def run(
        self, candidates: NDArray[np.intp], budget: int, allowance: Allowance
    ) -> tuple[dict[str, NDArray[np.float64]], list[Choice]]:
        """(scaled parts of all candidates at the start [len(candidates)] each, the chosen tiles in order)."""
        first = self._parts(candidates)
        for k in ("diversity", "coverage"):
            top = float(first[k].max(initial=0.0))
            self.scale[k] = 1.0 / top if top > 1e-12 else 0.0
            first[k] *= self.scale[k]

        def present(positions: NDArray[np.intp]) -> NDArray[np.float64]:
            tiles = candidates[positions]
            return self._score(tiles, self._parts(tiles))

        # Ties go to the lower position.
        search = LazyMaximum(self._score(candidates, first), np.arange(len(candidates)), present)
        chosen: list[Choice] = []
        while len(chosen) < budget and (found := search.take()) is not None:
            tile = candidates[found[0]]
            allowance.take(int(tile))
            if allowance.limited:
                search.only(allowance.open[candidates])
            parts = self._parts(np.array([tile]))
            chosen.append(Choice(int(tile), found[1], {k: float(v[0]) for k, v in parts.items()}))
            self.diversity.add(int(tile))
            self.coverage.add(int(tile))
        return first, chosen
