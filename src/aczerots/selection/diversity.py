"""Regions, their geometry, and coverage of the pool by chosen tiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import Floats, Pool


def principal_axes(points: NDArray[np.floating], k: int) -> tuple[Floats, Floats]:
    """(mean [d], the k leading principal axes [d, min(k, d)]) of points [n, d]."""
    x = points.astype(np.float64)
    mean = x.mean(axis=0)
    _, vectors = np.linalg.eigh((x - mean).T @ (x - mean))
    axes = vectors[:, ::-1][:, :k]
    # eigh leaves the sign open; fix it so that results do not depend on the linear-algebra library.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return mean.astype(np.float32), axes.astype(np.float32)


def region_features(pool: Pool, per_tile: int, axes: int, rng: np.random.Generator) -> tuple[Floats, NDArray[np.intp]]:
    """Centred unit features of a few cells of each tile.

    Cosines of raw embeddings crowd near 1; centring and the leading principal axes spread them.

    Args:
        pool: The pool.
        per_tile: Cells taken from each tile, r (spread evenly over those inside).
        axes: Principal axes kept.
        rng: Shifts the even spread.

    Returns:
        (unit features [n, r, axes], cell positions [n, r]).
    """
    number = pool.inside.sum(axis=1)
    offset = rng.random()
    rank = np.floor((np.arange(per_tile) + offset) / per_tile * number[:, None]).astype(np.intp)
    order = np.argsort(~pool.inside, axis=1, kind="stable")
    cells = np.take_along_axis(order, np.minimum(rank, number[:, None] - 1), axis=1)
    picked = np.take_along_axis(pool.features, cells[..., None], axis=1).astype(np.float32)
    mean, basis = principal_axes(picked.reshape(-1, picked.shape[-1]), axes)
    low = (picked - mean) @ basis
    return low / np.maximum(np.linalg.norm(low, axis=-1, keepdims=True), 1e-9), cells


def best_similarity(demand: Floats, supply: Floats, block: int = 2048) -> Floats:
    """For each demand vector [p, d] the largest cosine to any supply vector [s, d], at least 0."""
    out = np.zeros(len(demand), dtype=np.float32)
    for start in range(0, len(supply), block):
        np.maximum(out, (demand @ supply[start : start + block].T).max(axis=1), out=out)
    return out
