"""PBAL: where predictions change under perturbation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import PoolView, Selection, take_top


def discrepancy(pool: PoolView) -> NDArray[np.float64]:
    """Mean KL divergence in nats from the posterior to the MC-dropout posteriors, [n, m]."""
    p = np.maximum(pool.posterior().astype(np.float64), 1e-12)
    total, number = np.zeros(p.shape[:2]), 0
    for other in pool.dropout_posteriors():
        total += (p * (np.log(p) - np.log(np.maximum(other.astype(np.float64), 1e-12)))).sum(axis=-1)
        number += 1
    return np.where(total / number > 1e-9, total / number, 0.0)


class PbalStrategy:
    """PBAL: where predictions change under perturbation (Peng et al., Pattern Recognition 2024).

    Score: ``mean_k KL(p || p_k)`` with the MC-dropout posteriors ``p_k``. The paper compares an image with an
    augmented one; selection sees no images here, so the perturbation is dropout in the decoder. The prototype-guided
    pseudo-labels of the paper serve its training and are left out. Without dropout the score is 0 and tiles are taken
    by key.
    """

    name = "pbal"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the tiles of highest mean discrepancy; ``rng`` is not used."""
        score = pool.tile_mean(discrepancy(pool)).astype(np.float64)
        return take_top(pool, budget, score, {"discrepancy": score})
