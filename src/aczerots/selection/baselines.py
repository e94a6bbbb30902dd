"""Baseline strategies: random, and the highest mean entropy."""

from __future__ import annotations

import numpy as np

from aczerots.selection.base import Pool, Selection, check_budget, take_top
from aczerots.selection.uncertainty import entropy


class RandomStrategy:
    """Every tile without annotation is as likely as any other."""

    name = "random"

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`."""
        check_budget(budget)
        draw = rng.random(len(pool))
        return take_top(pool, budget, draw, {"random": draw})


class EntropyStrategy:
    """Highest mean entropy of the posterior (Holub, Perona and Burl, 2008, per tile)."""

    name = "entropy"

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`; the answer does not depend on ``rng``."""
        check_budget(budget)
        del rng
        score = pool.tile_mean(entropy(pool.posterior())).astype(np.float64)
        return take_top(pool, budget, score, {"entropy": score})
