"""Entropy of class posteriors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 16


def entropy(posterior: NDArray[np.floating]) -> NDArray[np.float32]:
    """Shannon entropy of probabilities [..., C] divided by log C: 0 (sure, or only one class) to 1 (uniform)."""
    if posterior.shape[-1] == 1:
        return np.zeros(posterior.shape[:-1], dtype=np.float32)
    flat = posterior.reshape(-1, posterior.shape[-1])
    out = np.empty(len(flat), dtype=np.float32)
    # By blocks, so that the logarithms of a large pool are never all in memory.
    for i in range(0, len(flat), _BLOCK):
        p = np.maximum(flat[i : i + _BLOCK], 1e-12)
        out[i : i + _BLOCK] = -(p * np.log(p)).sum(axis=-1) / np.log(posterior.shape[-1])
    return out.reshape(posterior.shape[:-1])
