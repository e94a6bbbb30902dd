"""Margin between the two most probable classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import PoolView, Selection, take_top


def confidence_gap(posterior: NDArray[np.floating]) -> NDArray[np.float32]:
    """``1 - (p_1 - p_2)`` of the two most probable classes of a posterior [..., C], float32 [...]; 0 if C is 1."""
    if posterior.shape[-1] == 1:
        return np.zeros(posterior.shape[:-1], dtype=np.float32)
    two = np.partition(posterior, -2, axis=-1)[..., -2:]
    return np.asarray(1.0 - (two[..., 1] - two[..., 0]), dtype=np.float32)


class MarginStrategy:
    """Smallest mean margin between the two most probable classes (Scheffer, Decomain and Wrobel, IDA 2001)."""

    name = "margin"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the tiles of smallest mean margin; ``rng`` is not used."""
        score = pool.tile_mean(confidence_gap(pool.posterior())).astype(np.float64)
        return take_top(pool, budget, score, {"margin": score})
