"""Our strategy: a greedy batch of tiles with uncertainty, diversity and coverage of seen and unseen classes.

``gain(t | S) = w_d d_t(S) + w_c c_t(S)`` for tile t when the tiles S are chosen, divided by the annotation cost of t if
asked for. Uncertainty weighs the demand for coverage: regions that the model is unsure of demand more. Added as a term
of its own it made results worse, because it stays high while the gain of coverage falls with every tile
(docs/results.md). Gains never grow when S grows, so an old gain is an upper bound and the greedy step can be lazy
(Minoux, 1978).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from aczerots.errors import SettingsError
from aczerots.selection.base import Floats, PoolView, Selection, check_budget, min_max
from aczerots.selection.clusters import best_cosine
from aczerots.selection.coverage import CoverageState, DiversityState, class_demand, condense, distance_to_drawn
from aczerots.selection.greedy import LazyGreedy
from aczerots.selection.region_features import region_features
from aczerots.selection.uncertainty import entropy

_LARGE = 4096


@dataclass(frozen=True)
class AczerotsStrategy:
    """The default strategy.

    Attributes:
        terms: Which of ``uncertainty``, ``diversity``, ``coverage`` count.
        weights: Their weights (w_u, w_d, w_c) after each is scaled to at most 1 over the pool. Without coverage, whose
            demand it would weigh, uncertainty is added with w_u.
        per_cost: Divide the gain by the annotation cost of the tile.
        per_tile: Regions per tile.
        axes: Principal axes of region features.
        max_demand: Regions that may demand coverage; more are sampled, so that the cost stays linear in the pool.
        groups: In pools of more than 4096 tiles, groups of regions that demand coverage.
    """

    name = "aczerots"
    TERMS = ("uncertainty", "diversity", "coverage")

    terms: tuple[str, ...] = TERMS
    weights: tuple[float, float, float] = (0.05, 0.1, 1.0)
    per_cost: bool = False
    per_tile: int = 25
    axes: int = 16
    max_demand: int = 4096
    groups: int = 1024

    def __post_init__(self) -> None:
        """Refuse unknown terms."""
        unknown = sorted(set(self.terms) - set(self.TERMS))
        if unknown:
            raise SettingsError(f"unknown term '{unknown[0]}'", fix=f"The terms are: {', '.join(self.TERMS)}")

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the tile of the largest gain again and again; ``rng`` draws regions of large pools."""
        check_budget(budget)
        posterior = pool.posterior()
        spread = entropy(posterior)
        # Annotation removes uncertainty about seen classes only.
        yield_seen = posterior[..., pool.seen].sum(axis=-1)
        uncertain = min_max(pool.tile_mean(spread * yield_seen), pool.candidates)
        coverage, diversity = self._states(pool, posterior, spread, rng)
        weights = {k: w for k, w in zip(self.TERMS, self.weights, strict=True) if k in self.terms}
        if "uncertainty" in weights and "coverage" in weights:
            weights["uncertainty"] = 0.0
        greedy = LazyGreedy(weights, uncertain, diversity, coverage, pool.cost if self.per_cost else None)
        by_key = np.argsort(pool.rank)
        candidates = by_key[~pool.labelled[by_key]]
        found = greedy.run(candidates, budget, pool.allowance())
        seen_yield = np.where(pool.labelled, np.nan, pool.tile_mean(yield_seen).astype(np.float64))
        return replace(
            found,
            utilities={**found.utilities, "seen_yield": seen_yield},
            components={**found.components, "seen_yield": seen_yield[found.tiles]},
        )

    def _states(
        self, pool: PoolView, posterior: Floats, spread: Floats, rng: np.random.Generator
    ) -> tuple[CoverageState, DiversityState]:
        """Coverage and diversity with everything labelled already drawn."""
        regions, cells = region_features(pool, self.per_tile, self.axes, rng)
        classes = np.take_along_axis(posterior, cells[..., None], axis=1)
        uncertain = np.take_along_axis(spread, cells, axis=1)
        if "uncertainty" not in self.terms:
            uncertain = np.ones_like(uncertain)
        points = regions.reshape(-1, regions.shape[-1])
        demand = class_demand(classes.reshape(len(points), -1), uncertain.reshape(-1))
        if len(pool) > _LARGE:
            points, demand = condense(points, demand, self.groups, rng)
        elif len(points) > self.max_demand:
            keep = np.sort(rng.choice(len(points), self.max_demand, replace=False, p=demand / demand.sum()))
            points, demand = points[keep].astype(np.float32), np.full(len(keep), 1.0 / len(keep), dtype=np.float32)
        drawn = regions[pool.labelled].reshape(-1, regions.shape[-1]).astype(np.float32)
        coverage = CoverageState(points, demand, best_cosine(points, drawn), regions)
        means = regions.mean(axis=1, dtype=np.float32)
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
        return coverage, distance_to_drawn(means, pool.labelled)


def covered_fraction(pool: PoolView) -> float:
    """How well the drawn tiles represent the pool, 0 (nothing is drawn) to 1.

    The demand of :class:`CoverageState` times the best cosine to a drawn region. Values of different models cannot be
    compared, because their features differ.
    """
    if not pool.labelled.any():
        return 0.0
    posterior = pool.posterior()
    state, _ = AczerotsStrategy()._states(pool, posterior, entropy(posterior), np.random.default_rng(0))
    return float(state.demand @ np.clip(state.covered, 0.0, 1.0))
