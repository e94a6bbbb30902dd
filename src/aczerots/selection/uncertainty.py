"""How unsure the model is, per cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def entropy(posterior: NDArray[np.floating]) -> NDArray[np.float32]:
    """Shannon entropy over the last axis divided by log C: 0 (sure, or only one class) to 1 (uniform).

    Args:
        posterior: Probabilities [..., C].
    """
    if posterior.shape[-1] == 1:
        return np.zeros(posterior.shape[:-1], dtype=np.float32)
    p = np.maximum(posterior, 1e-12)
    out: NDArray[np.float32] = (-(p * np.log(p)).sum(axis=-1) / np.log(posterior.shape[-1])).astype(np.float32)
    return out


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
