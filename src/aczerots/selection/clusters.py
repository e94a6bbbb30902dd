"""Distances, similarities and clusters of points, computed by blocks so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.floating]
Floats = NDArray[np.float32]
Draw = Callable[[], NDArray[np.float64]]
_BLOCK = 2048
_OWNED = 1 << 18


def square_distances(points: Points, others: Points) -> Points:
    """Squared Euclidean distances [n, k] of points [n, d] and others [k, d]; small ones may be off by rounding."""
    square = (points**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2.0 * points @ others.T
    return np.asarray(np.maximum(square, 0.0))


def nearest_distance(points: Points, others: Points) -> Points:
    """Euclidean distance [n] of each point [n, d] to the nearest of others [k, d], k >= 1."""
    out = np.full(len(points), np.inf)
    for start in range(0, len(others), _BLOCK):
        for i in range(0, len(points), _BLOCK):
            part = slice(i, i + _BLOCK)
            block = square_distances(points[part], others[start : start + _BLOCK])
            np.minimum(out[part], block.min(axis=1), out=out[part])
    return np.asarray(np.sqrt(out))


def best_cosine(points: Floats, others: Floats, least: float = 0.0, block: int = 1 << 22) -> Floats:
    """For each unit vector [n, d] the largest cosine to any of some others [k, d], at least ``least``, float32 [n]."""
    out = np.full(len(points), least, dtype=np.float32)
    rows = max(1, block // max(1, len(others)))
    for i in range(0, len(points) if len(others) else 0, rows):
        part = out[i : i + rows]
        np.maximum(part, (points[i : i + rows] @ others.T).max(axis=1), out=part)
    return out


def owners(points: Points, centres: Points) -> NDArray[np.intp]:
    """Position [n] of the nearest centre [k, d] of each point [n, d]."""
    out = np.empty(len(points), dtype=np.intp)
    # The square of the point itself is the same for all centres.
    square, twice = (centres**2).sum(axis=1), np.ascontiguousarray(-2.0 * centres.T)
    rows = max(1, _OWNED // len(centres))
    for i in range(0, len(points), rows):
        distance = points[i : i + rows] @ twice
        distance += square
        out[i : i + rows] = distance.argmin(axis=1)
    return out


def sums(points: Points, owner: NDArray[np.intp], clusters: int) -> Points:
    """Sum of the points [n, d] of each cluster, [clusters, d]."""
    from scipy.sparse import csr_array

    n = len(points)
    member = csr_array((np.ones(n, dtype=points.dtype), (owner, np.arange(n))), shape=(clusters, n))
    return np.asarray(member @ points)


def sample_one(weights: NDArray[np.float64], uniform: NDArray[np.float64]) -> int:
    """One position, drawn with probability in proportion to the weights.

    Args:
        weights: Non-negative [n]; all zero counts as all equal.
        uniform: Uniform numbers in [0, 1). With one per position [n] (the Gumbel-max trick) the answer does not depend
            on the order of the positions; one number [1] is faster.
    """
    if not weights.any():
        weights = np.ones_like(weights)
    if len(uniform) == 1:
        total = np.cumsum(weights)
        # Rounding must not lead beyond the last position with any weight.
        return int(np.searchsorted(total, min(uniform[0] * total[-1], np.nextafter(total[-1], 0.0)), side="right"))
    with np.errstate(divide="ignore"):
        race = np.log(weights) - np.log(-np.log(np.maximum(uniform, 1e-300)))
    return int(race.argmax())


def plus_plus(points: Points, k: int, draw: Draw) -> NDArray[np.intp]:
    """Positions of k <= n points [n, d], each drawn in proportion to its squared distance to those before.

    k-means++ (Arthur and Vassilvitskii, 2007). ``draw`` gives fresh uniform numbers for :func:`sample_one`.
    """
    chosen = [sample_one(np.ones(len(points)), draw())]
    square = (points**2).sum(axis=1)
    nearest = np.full(len(points), np.inf, dtype=points.dtype)
    while len(chosen) < k:
        newest = chosen[-1]
        distance = points @ (-2.0 * points[newest])
        distance += square + square[newest]
        np.minimum(nearest, np.maximum(distance, 0.0, out=distance), out=nearest)
        nearest[chosen] = 0.0
        free = nearest if nearest.any() else np.where(np.isin(np.arange(len(points)), chosen), 0.0, 1.0)
        chosen.append(sample_one(free.astype(np.float64), draw()))
    return np.array(chosen, dtype=np.intp)


def kmeans(points: Points, k: int, draw: Draw, steps: int = 25) -> tuple[Points, NDArray[np.intp]]:
    """Lloyd's k-means of points [n, d], n >= 1, from the start of :func:`plus_plus`, at most ``steps`` iterations.

    Gives (centres [min(k, n), d], owner of each point [n]); a centre that loses all its points stays where it is.
    """
    centres = points[plus_plus(points, min(k, len(points)), draw)]
    owner = owners(points, centres)
    for _ in range(steps):
        number = np.bincount(owner, minlength=len(centres))[:, None].astype(points.dtype)
        centres = np.where(number > 0, sums(points, owner, len(centres)) / np.maximum(number, 1), centres)
        now = owners(points, centres)
        if (now == owner).all():
            break
        owner = now
    return centres, owner


def unit(points: NDArray[np.floating]) -> Points:
    """Points [n, d] scaled to length 1; zero stays zero."""
    return np.asarray(points / np.maximum(np.linalg.norm(points, axis=-1, keepdims=True), 1e-12))
