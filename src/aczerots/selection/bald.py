"""BALD: where dropout states of the model contradict each other."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import PoolView, Selection, take_top


def mutual_information(samples: Iterable[NDArray[np.floating]]) -> NDArray[np.float32]:
    """Mutual information between the class and the model's state, ``H[mean_k p_k] - mean_k H[p_k]``, in nats.

    Houlsby et al., 2011. Sums run over the samples, so only one of them is in memory at a time.

    Args:
        samples: At least one array of probabilities [..., C], one per state of the model.

    Returns:
        Float32 [...], at least 0.
    """
    total, entropies, number = np.zeros(()), np.zeros(()), 0
    for p in samples:
        total = total + p.astype(np.float64)
        entropies = entropies + _nats(p.astype(np.float64))
        number += 1
    gain = _nats(total / number) - entropies / number
    # Equal states carry no information; rounding errors must not rank tiles.
    return np.where(gain > 1e-9, gain, 0.0).astype(np.float32)


def _nats(posterior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shannon entropy over the last axis in nats."""
    p = np.maximum(posterior, 1e-12)
    return np.asarray(-(p * np.log(p)).sum(axis=-1))


class BaldStrategy:
    """Highest mean mutual information between the class and the model's state (Gal, Islam and Ghahramani, ICML 2017).

    The states are dropout masks. A model without dropout has one state only: all information is 0, and the tiles
    are taken by key.
    """

    name = "bald"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the tiles of highest mean mutual information; ``rng`` is not used."""
        score = pool.tile_mean(mutual_information(pool.dropout_posteriors())).astype(np.float64)
        return take_top(pool, budget, score, {"mutual_information": score})
