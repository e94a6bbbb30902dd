"""Chance: the baseline that every strategy must beat."""

from __future__ import annotations

import numpy as np

from aczerots.selection.base import PoolView, Selection, take_top


class RandomStrategy:
    """Every tile without annotation is as likely as any other."""

    name = "random"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Draw a number for each tile and choose the highest."""
        draw = pool.draw(rng)
        return take_top(pool, budget, draw, {"random": draw})
