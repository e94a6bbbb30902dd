"""Our criterion: a greedy batch of tiles with uncertainty, diversity and coverage of seen and unseen classes.

``gain(t | S) = w_u u_t + w_d d_t(S) + w_c c_t(S)``, divided by the cost of drawing t if asked for. All
three gains never grow when S grows: a stale gain is an upper bound, so the greedy step can be lazy (Minoux,
1978).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import SettingsError
from aczerots.selection.base import Floats, Pool, Selection, check_budget, min_max
from aczerots.selection.diversity import best_similarity, region_features
from aczerots.selection.uncertainty import entropy

TERMS = ("uncertainty", "diversity", "coverage")


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


class AczerotsStrategy:
    """The default strategy.

    Args:
        terms: Which of ``uncertainty``, ``diversity``, ``coverage`` count.
        weights: Their weights (w_u, w_d, w_c) after each is scaled to at most 1 over the pool.
        per_cost: Divide the gain by the cost of drawing the tile.
        per_tile: Regions per tile.
        axes: Principal axes of region features.
        max_demand: Regions that may demand coverage; more are sampled, so that the cost stays
            linear in the pool.
    """

    name = "aczerots"

    def __init__(
        self,
        terms: tuple[str, ...] = TERMS,
        weights: tuple[float, float, float] = (0.25, 0.25, 1.0),
        *,
        per_cost: bool = False,
        per_tile: int = 25,
        axes: int = 16,
        max_demand: int = 4096,
    ) -> None:
        unknown = set(terms) - set(TERMS)
        if unknown:
            raise SettingsError(f"unknown term '{sorted(unknown)[0]}'", fix=f"The terms are: {', '.join(TERMS)}")
        self.terms = terms
        self.weights = dict(zip(TERMS, weights, strict=True))
        self.per_cost = per_cost
        self.per_tile = per_tile
        self.axes = axes
        self.max_demand = max_demand

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`."""
        check_budget(budget)
        posterior = pool.posterior()
        spread = entropy(posterior)
        # Doubt about seen tissue is what drawing can remove; doubt among unseen classes stays.
        yield_seen = posterior[..., pool.seen].sum(axis=-1)
        uncertain = min_max(pool.tile_mean(spread * yield_seen), pool.candidates)
        coverage, diversity = self._states(pool, posterior, spread, rng)
        greedy = _LazyGreedy(self, uncertain, diversity, coverage, pool.cost if self.per_cost else None)
        utilities, chosen = greedy.run(pool.candidates, budget)
        full = {k: np.full(len(pool), np.nan) for k in TERMS}
        for k, v in utilities.items():
            full[k][pool.candidates] = v
        full["seen_yield"] = np.where(pool.labelled, np.nan, pool.tile_mean(yield_seen).astype(np.float64))
        tiles = np.array([c.tile for c in chosen], dtype=np.intp)
        parts = {k: np.array([c.parts[k] for c in chosen], dtype=np.float64) for k in TERMS}
        parts["seen_yield"] = full["seen_yield"][tiles]
        return Selection(tiles, np.array([c.score for c in chosen], dtype=np.float64), full, parts)

    def _states(
        self, pool: Pool, posterior: Floats, spread: Floats, rng: np.random.Generator
    ) -> tuple[CoverageState, DiversityState]:
        """Coverage and diversity with everything labelled already drawn."""
        regions, cells = region_features(pool, self.per_tile, self.axes, rng)
        classes = np.take_along_axis(posterior, cells[..., None], axis=1)
        doubt = np.take_along_axis(spread, cells, axis=1)
        points = regions.reshape(-1, regions.shape[-1])
        demand = class_demand(classes.reshape(len(points), -1), doubt.reshape(-1))
        if len(points) > self.max_demand:
            keep = np.sort(rng.choice(len(points), self.max_demand, replace=False, p=demand / demand.sum()))
            points, demand = points[keep], np.full(len(keep), 1.0 / len(keep), dtype=np.float32)
        drawn = regions[pool.labelled].reshape(-1, regions.shape[-1])
        coverage = CoverageState(points, demand, best_similarity(points, drawn), regions)
        means = regions.mean(axis=1)
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
        diversity = DiversityState(means, np.ones(len(pool), dtype=np.float32))
        for tile in np.flatnonzero(pool.labelled):
            diversity.add(int(tile))
        return coverage, diversity


def covered_share(pool: Pool) -> float:
    """How well the drawn tiles represent the pool, 0 (nothing is drawn) to 1.

    The demand of :class:`CoverageState` times the best cosine to a drawn region. Only values from one model can be
    compared: another one has other features.
    """
    if not pool.labelled.any():
        return 0.0
    posterior = pool.posterior()
    state, _ = AczerotsStrategy()._states(pool, posterior, entropy(posterior), np.random.default_rng(0))
    return float(state.demand @ np.clip(state.covered, 0.0, 1.0))


@dataclass(frozen=True)
class _Choice:
    """One chosen tile with its score and the scaled parts at that moment."""

    tile: int
    score: float
    parts: dict[str, float]


class _LazyGreedy:
    """Greedy maximisation with stale upper bounds in a heap."""

    def __init__(
        self,
        strategy: AczerotsStrategy,
        uncertain: NDArray[np.float64],
        diversity: DiversityState,
        coverage: CoverageState,
        cost: Floats | None,
    ) -> None:
        self.strategy, self.uncertain, self.cost = strategy, uncertain, cost
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
        total = sum(self.strategy.weights[k] * parts[k] for k in self.strategy.terms)
        return total / float(self.cost[tile]) if self.cost is not None else total

    def run(self, candidates: NDArray[np.intp], budget: int) -> tuple[dict[str, NDArray[np.float64]], list[_Choice]]:
        """(scaled parts of all candidates at the start [len(candidates)] each, the chosen tiles in order)."""
        first = [self._parts(int(t)) for t in candidates]
        for k in ("diversity", "coverage"):
            top = max((p[k] for p in first), default=0.0)
            self.scale[k] = 1.0 / top if top > 1e-12 else 0.0
        scaled = [{k: v * self.scale[k] for k, v in p.items()} for p in first]
        # Python's heap is a min-heap; ties go to the lower position.
        heap = [(-self._score(int(t), p), int(t), 0, p) for t, p in zip(candidates, scaled, strict=True)]
        heapq.heapify(heap)
        chosen: list[_Choice] = []
        while heap and len(chosen) < budget:
            bound, tile, stamp, parts = heapq.heappop(heap)
            if stamp < len(chosen):
                parts = self._parts(tile)
                heapq.heappush(heap, (-self._score(tile, parts), tile, len(chosen), parts))
                continue
            chosen.append(_Choice(tile, -bound, parts))
            self.diversity.add(tile)
            self.coverage.add(tile)
        return {k: np.array([p[k] for p in scaled]) for k in TERMS}, chosen
