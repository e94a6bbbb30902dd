"""Entropy of the posterior."""

from __future__ import annotations

import numpy as np

from aczerots.selection.base import PoolView, Selection, take_top
from aczerots.selection.uncertainty import entropy


class EntropyStrategy:
    """Highest mean entropy ``-sum_c p_c log p_c / log C`` over a tile (Holub, Perona and Burl, CVPR Workshops 2008)."""

    name = "entropy"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the tiles of highest mean entropy; ``rng`` is not used."""
        score = pool.tile_mean(entropy(pool.posterior())).astype(np.float64)
        return take_top(pool, budget, score, {"entropy": score})
