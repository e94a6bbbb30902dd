"""How unsure the model is, per cell."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 16


def entropy(posterior: NDArray[np.floating]) -> NDArray[np.float32]:
    """Shannon entropy over the last axis divided by log C: 0 (sure, or only one class) to 1 (uniform).

    Args:
        posterior: Probabilities [..., C].
    """
    if posterior.shape[-1] == 1:
        return np.zeros(posterior.shape[:-1], dtype=np.float32)
    flat = posterior.reshape(-1, posterior.shape[-1])
    out = np.empty(len(flat), dtype=np.float32)
    # By blocks: the logarithms of a large pool need not all be held.
    for i in range(0, len(flat), _BLOCK):
        p = np.maximum(flat[i : i + _BLOCK], 1e-12)
        out[i : i + _BLOCK] = -(p * np.log(p)).sum(axis=-1) / np.log(posterior.shape[-1])
    return out.reshape(posterior.shape[:-1])


def evidential(scores: NDArray[np.floating]) -> NDArray[np.float32]:
    """Subjective-logic uncertainty of raw class scores (paper, Sec. 3.4, EUN).

    Evidence e = ReLU(score), Dirichlet strength Q = sum(e + 1), uncertainty = C / Q.

    Args:
        scores: Scores without softmax [..., C].

    Returns:
        Float32 [...] in (0, 1].
    """
    evidence = np.maximum(scores, 0.0)
    strength = (evidence + 1.0).sum(axis=-1)
    out: NDArray[np.float32] = (scores.shape[-1] / strength).astype(np.float32)
    return out


def confidence_gap(posterior: NDArray[np.floating]) -> NDArray[np.float32]:
    """One minus the margin between the two most probable classes (Scheffer, Decomain and Wrobel, 2001).

    Args:
        posterior: Probabilities [..., C].

    Returns:
        Float32 [...] in [0, 1]; 0 where there is one class only.
    """
    if posterior.shape[-1] == 1:
        return np.zeros(posterior.shape[:-1], dtype=np.float32)
    two = np.partition(posterior, -2, axis=-1)[..., -2:]
    out: NDArray[np.float32] = (1.0 - (two[..., 1] - two[..., 0])).astype(np.float32)
    return out


def mutual_information(samples: Iterable[NDArray[np.floating]]) -> NDArray[np.float32]:
    """Mutual information between the class and the model's state, in nats (Houlsby et al., 2011).

    ``H[mean_k p_k] - mean_k H[p_k]``. Sums run over the samples, so only one of them is in memory at a time.

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
    # Equal states inform of nothing; what rounding leaves must not rank tiles.
    out: NDArray[np.float32] = np.where(gain > 1e-9, gain, 0.0).astype(np.float32)
    return out


def _nats(posterior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shannon entropy over the last axis in nats."""
    p = np.maximum(posterior, 1e-12)
    out: NDArray[np.float64] = -(p * np.log(p)).sum(axis=-1)
    return out
