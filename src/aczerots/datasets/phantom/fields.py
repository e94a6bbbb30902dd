"""Random fields and point patterns, from which all phantom tissues are made. Shapes are (height, width) in pixels."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float32]
"""Float32 [height, width]."""


@lru_cache(maxsize=64)
def _weights(length: int, scale: float) -> Field:
    """Cubic B-spline weights [length, knots] for knots ``scale`` pixels apart (de Boor 1978)."""
    position = np.arange(length) / scale
    knots = math.ceil(length / scale) + 3
    distance = np.abs(position[:, None] + 1 - np.arange(knots)[None, :])
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = np.clip(2 - distance, 0, None) ** 3 / 6
    weights: Field = np.where(distance < 1, inner, outer).astype(np.float32)
    return weights


def noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Field:
    """Smooth Gaussian noise, mean about 0, deviation about 1, blobs of ``scale`` pixels; white below 1.5."""
    if scale < 1.5:
        return rng.standard_normal(shape, dtype=np.float32)
    rows, columns = _weights(shape[0], scale), _weights(shape[1], scale)
    coarse = rng.standard_normal((rows.shape[1], columns.shape[1]), dtype=np.float32)
    # The mean square of the B-spline weights is 151/315 along each axis.
    return np.asarray(rows @ coarse @ columns.T * (315 / 151), dtype=np.float32)


def fractal(rng: np.random.Generator, shape: tuple[int, int], scale: float, octaves: int = 3) -> Field:
    """Noise of several scales, each half the size and 0.55 the strength of the last; deviation about 1."""
    total = np.zeros(shape, dtype=np.float32)
    power = 0.0
    for octave in range(octaves):
        weight = 0.55**octave
        total += weight * noise(rng, shape, scale / 2**octave)
        power += weight**2
    return total / np.float32(math.sqrt(power))


def sample(field: Field, y: Field, x: Field) -> Field:
    """Bilinear values of a periodic field at float coordinates, same shape as ``y``."""
    height, width = field.shape
    y0, x0 = np.floor(y), np.floor(x)
    fy, fx = (y - y0).astype(np.float32), (x - x0).astype(np.float32)
    r0, c0 = y0.astype(np.intp) % height, x0.astype(np.intp) % width
    r1, c1 = (r0 + 1) % height, (c0 + 1) % width
    top = field[r0, c0] * (1 - fx) + field[r0, c1] * fx
    return np.asarray(top * (1 - fy) + (field[r1, c0] * (1 - fx) + field[r1, c1] * fx) * fy)


def scatter(
    rng: np.random.Generator, shape: tuple[int, int], spacing: float, jitter: float = 0.3
) -> NDArray[np.float32]:
    """Points (y, x) on a jittered hexagonal grid over the image and a margin of one spacing: float32 [n, 2] in pixels.

    ``spacing`` is the mean distance of neighbours in pixels, ``jitter`` the standard deviation of the displacement as
    a fraction of it. The order is random.
    """
    pitch = spacing * math.sqrt(3) / 2
    rows = np.arange(-1, math.ceil(shape[0] / pitch) + 2)
    columns = np.arange(-1, math.ceil(shape[1] / spacing) + 2)
    r, c = np.meshgrid(rows, columns, indexing="ij")
    points = np.stack([r * pitch, (c + 0.5 * (r % 2)) * spacing], axis=-1).reshape(-1, 2)
    points = points + rng.uniform(0, spacing, 2) - spacing / 2 + rng.normal(0, jitter * spacing, points.shape)
    return np.asarray(rng.permutation(points), dtype=np.float32)


def inside(points: NDArray[np.float32], region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bool [n]: which points (y, x) lie in a region bool [height, width]."""
    y, x = np.floor(points).astype(np.intp).T
    height, width = region.shape
    valid = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    out = np.zeros(len(points), dtype=bool)
    out[valid] = region[y[valid], x[valid]]
    return out


def cells(points: NDArray[np.float32], shape: tuple[int, int]) -> tuple[NDArray[np.intp], Field]:
    """Voronoi cells of points (y, x), float [n, 2], computed at half resolution; points may lie beyond the image.

    Gives the index of the nearest point int [height, width] and the distance to the cell border in pixels.
    """
    margin = 16
    half = (shape[0] // 2 + 1 + 2 * margin, shape[1] // 2 + 1 + 2 * margin)
    index = np.full(half, -1, dtype=np.intp)
    y, x = (np.round(points / 2).astype(np.intp) + margin).T
    y, x = np.clip(y, 0, half[0] - 1), np.clip(x, 0, half[1] - 1)
    index[y, x] = np.arange(len(points))
    nearest = ndimage.distance_transform_edt(index < 0, return_distances=False, return_indices=True)
    owner = index[nearest[0], nearest[1]]
    border = np.zeros(half, dtype=bool)
    border[:, 1:] |= owner[:, 1:] != owner[:, :-1]
    border[1:, :] |= owner[1:, :] != owner[:-1, :]
    distance = np.asarray(ndimage.distance_transform_edt(~border), dtype=np.float32) * 2
    crop = (slice(margin, half[0] - margin), slice(margin, half[1] - margin))
    near = owner[crop].repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]
    return np.asarray(near), smooth_enlarge(distance[crop], shape)


def smooth_enlarge(field: Field, shape: tuple[int, int]) -> Field:
    """Twice the size by bilinear interpolation, cut to ``shape``."""
    height, width = field.shape
    big = np.empty((2 * height - 1, 2 * width - 1), dtype=np.float32)
    big[::2, ::2] = field
    big[1::2, ::2] = (field[:-1] + field[1:]) / 2
    big[:, 1::2] = (big[:, :-1:2] + big[:, 2::2]) / 2
    return big[: shape[0], : shape[1]]
