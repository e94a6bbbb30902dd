"""Probability of the predicted class."""

from __future__ import annotations

import numpy as np

from aczerots.selection.base import PoolView, Selection, take_top


class LeastConfidenceStrategy:
    """Highest mean of ``1 - max_c p_c`` over a tile (Lewis and Gale, SIGIR 1994)."""

    name = "least-confidence"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the tiles of which the model is least confident; ``rng`` is not used."""
        score = pool.tile_mean(1.0 - pool.posterior().max(axis=-1)).astype(np.float64)
        return take_top(pool, budget, score, {"least_confidence": score})
