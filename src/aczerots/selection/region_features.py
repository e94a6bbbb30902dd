"""Features of a few regions of each tile, in the principal axes of the pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import Floats, PoolView

_BLOCK = 1024
_SAMPLE = 16_384
_LARGE = 256 * 2**20


def principal_axes(blocks: Callable[[], Iterable[NDArray[np.floating]]], k: int) -> tuple[Floats, Floats]:
    """(mean [d], the k leading principal axes [d, min(k, d)]) of points that come in blocks [b, d].

    ``blocks`` is called twice and must give the same blocks.
    """
    number, total = 0, np.zeros(())
    for block in blocks():
        number, total = number + len(block), total + block.sum(axis=0, dtype=np.float64)
    mean = total / number
    spread = np.zeros(())
    for block in blocks():
        x = block - mean
        spread = spread + x.T @ x
    _, vectors = np.linalg.eigh(spread)
    axes = vectors[:, ::-1][:, :k]
    # eigh leaves the sign open; fix it so that results do not depend on the linear-algebra library.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return mean.astype(np.float32), axes.astype(np.float32)


def region_features(
    pool: PoolView, per_tile: int, axes: int, rng: np.random.Generator
) -> tuple[NDArray[np.floating], NDArray[np.intp]]:
    """Centred unit features of a few cells of each tile.

    Cosines of raw embeddings crowd near 1; centring and the leading principal axes spread them. The axes of a pool
    of more than 16,384 tiles are those of so many of them, spread evenly over the keys.

    Args:
        pool: The pool.
        per_tile: Cells taken from each tile, r (spread evenly over those inside).
        axes: Principal axes kept.
        rng: Shifts the even spread.

    Returns:
        (unit features [n, r, axes], float16 where float32 would take more than 256 MiB; cell positions [n, r]).
    """
    number = pool.inside.sum(axis=1)
    offset = rng.random()
    rank = np.floor((np.arange(per_tile) + offset) / per_tile * number[:, None]).astype(np.int32)
    order = np.argsort(~pool.inside, axis=1, kind="stable")
    cells = np.take_along_axis(order, np.minimum(rank, number[:, None] - 1), axis=1)
    mean, basis = _axes_of(pool, cells, axes)
    small = cells.size * basis.shape[1] * 4 <= _LARGE
    out = np.empty((*cells.shape, basis.shape[1]), dtype=np.float32 if small else np.float16)
    for i in range(0, len(pool), _BLOCK):
        low = (_picked(pool, cells, slice(i, i + _BLOCK)) - mean) @ basis
        out[i : i + _BLOCK] = low / np.maximum(np.linalg.norm(low, axis=-1, keepdims=True), 1e-9)
    return out, cells


def _picked(pool: PoolView, cells: NDArray[np.intp], part: slice | NDArray[np.intp]) -> Floats:
    """Features of the picked cells of some tiles, float32 [b, r, d]."""
    return np.take_along_axis(pool.features[part], cells[part][..., None], axis=1).astype(np.float32)


def _axes_of(pool: PoolView, cells: NDArray[np.intp], axes: int) -> tuple[Floats, Floats]:
    """Mean and principal axes of the picked cells [n, r] of the pool, or of an even sample of its tiles."""
    if len(pool) <= _SAMPLE:
        sample = np.arange(len(pool))
    else:
        sample = np.argsort(pool.rank)[np.linspace(0, len(pool) - 1, _SAMPLE).astype(np.intp)]

    def blocks() -> Iterator[Floats]:
        for i in range(0, len(sample), _BLOCK):
            picked = _picked(pool, cells, sample[i : i + _BLOCK])
            yield picked.reshape(-1, picked.shape[-1])

    return principal_axes(blocks, axes)
