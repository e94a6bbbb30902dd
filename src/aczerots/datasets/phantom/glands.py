"""Crypt-like normal glands: outlines, and where their cells sit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aczerots.datasets.phantom.fields import Field, inside, scatter

EPITHELIUM_UM = 22.0
"""Height of the columnar epithelium."""


@dataclass(frozen=True)
class Gland:
    """A closed outline in polar form around a centre; lengths in pixels.

    Attributes:
        y, x: Centre.
        radius: Mean radius.
        waves: Complex amplitudes of harmonics 2, 3, 4 and 5 relative to the radius, [4].
    """

    y: float
    x: float
    radius: float
    waves: NDArray[np.complex64]

    def outline(self, angle: Field) -> Field:
        """Radius of the outline in pixels at each angle (radians)."""
        turn = np.exp(1j * angle)
        total = np.ones_like(angle)
        for i, wave in enumerate(self.waves):
            total += (wave * turn ** (i + 2)).real
        return np.asarray(self.radius * total, dtype=np.float32)

    def ring(
        self, rng: np.random.Generator, depth: tuple[float, float], pitch: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Points along the outline, ``depth`` pixels inside it and about ``pitch`` pixels apart.

        Gives points (y, x) float [n, 2], and the radial direction at each, float [n] in radians.
        """
        inset = (depth[0] + depth[1]) / 2
        count = max(5, round(2 * math.pi * max(self.radius - inset, pitch) / pitch))
        steps = np.arange(count) + rng.normal(0, 0.22, count)
        angle: Field = (steps * (2 * math.pi / count)).astype(np.float32)
        radius = self.outline(angle) - rng.uniform(*depth, count).astype(np.float32)
        points = np.stack([self.y + radius * np.sin(angle), self.x + radius * np.cos(angle)], axis=1)
        return points.astype(np.float32), angle


def place_glands(
    rng: np.random.Generator, region: NDArray[np.bool_], px: float, fill: float = 1.0
) -> tuple[Gland, ...]:
    """Glands side by side with centres in a region, bool [h, w], on a fraction ``fill`` of the places."""
    size = rng.uniform(30, 46)
    height, width = region.shape
    points = scatter(rng, (height, width), (2 * size + 16) * px, jitter=0.07)
    keep = inside(points, region) & (rng.random(len(points)) < fill)
    glands = []
    for y, x in points[keep].tolist():
        strength = np.array([0.14, 0.07, 0.04, 0.02])
        waves = rng.normal(0, 1, 4) * strength + 1j * rng.normal(0, 1, 4) * strength
        radius = size * px * rng.uniform(0.82, 1.08)
        glands.append(Gland(y, x, radius, waves.astype(np.complex64)))
    return tuple(glands)


def gland_depth(glands: tuple[Gland, ...], shape: tuple[int, int]) -> Field:
    """Distance inwards from the outline of the gland a pixel is in, 0 outside: float [h, w] in pixels."""
    depth = np.zeros(shape, dtype=np.float32)
    for g in glands:
        reach = 1.6 * g.radius
        rows = slice(max(int(g.y - reach), 0), max(min(int(g.y + reach), shape[0]), 0))
        columns = slice(max(int(g.x - reach), 0), max(min(int(g.x + reach), shape[1]), 0))
        y, x = np.mgrid[rows, columns].astype(np.float32)
        if y.size == 0:
            continue
        radius = np.hypot(y - g.y, x - g.x)
        inward = g.outline(np.arctan2(y - g.y, x - g.x)) - radius
        depth[rows, columns] = np.maximum(depth[rows, columns], inward)
    return depth
