"""Greedy choice of tiles by a sum of terms whose gains never grow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import Floats, Selection
from aczerots.selection.coverage import CoverageState, DiversityState
from aczerots.selection.lazy import LazyMaximum
from aczerots.selection.limits import Allowance


@dataclass
class LazyGreedy:
    """Greedy maximisation of the weighted sum of terms, lazily: the answer is the same as with all gains computed.

    Attributes:
        weights: Weight of each term in use.
        uncertain: Uncertainty of each tile, float [n].
        diversity: Distances with everything labelled already drawn.
        coverage: Coverage with everything labelled already drawn.
        cost: Annotation cost [n] by which gains are divided; None does not divide.
        scale: Factor of each term.
    """

    weights: Mapping[str, float]
    uncertain: NDArray[np.float64]
    diversity: DiversityState
    coverage: CoverageState
    cost: Floats | None
    scale: dict[str, float] = field(default_factory=lambda: {"uncertainty": 1.0, "diversity": 1.0, "coverage": 1.0})

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

    def run(self, candidates: NDArray[np.intp], budget: int, allowance: Allowance) -> Selection:
        """Choose tiles; of candidates of equal score the first one. Components are the scaled parts."""
        first = self._parts(candidates)
        for k in ("diversity", "coverage"):
            top = float(first[k].max(initial=0.0))
            self.scale[k] = 1.0 / top if top > 1e-12 else 0.0
            first[k] *= self.scale[k]

        def present(positions: NDArray[np.intp]) -> NDArray[np.float64]:
            tiles = candidates[positions]
            return self._score(tiles, self._parts(tiles))

        search = LazyMaximum(self._score(candidates, first), np.arange(len(candidates)), present)
        chosen, score, parts = list[int](), list[float](), list[dict[str, NDArray[np.float64]]]()
        while len(chosen) < budget and (found := search.take()) is not None:
            tile = int(candidates[found[0]])
            allowance.take(tile)
            if allowance.limited:
                search.only(allowance.open[candidates])
            chosen.append(tile)
            score.append(found[1])
            parts.append(self._parts(np.array([tile])))
            self.diversity.add(tile)
            self.coverage.add(tile)
        utilities = {k: np.full(len(self.uncertain), np.nan) for k in first}
        for k, values in first.items():
            utilities[k][candidates] = values
        components = {k: np.array([p[k][0] for p in parts], dtype=np.float64) for k in first}
        return Selection(np.array(chosen, dtype=np.intp), np.array(score, dtype=np.float64), utilities, components)
