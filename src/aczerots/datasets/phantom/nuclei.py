"""Drawing of many small bodies (nuclei, red cells, vacuoles) onto the stain maps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aczerots.datasets.phantom.fields import Field, noise
from aczerots.datasets.phantom.optics import Stains

Points = NDArray[np.float32]
_BATCH = 160


@dataclass(frozen=True)
class Look:
    """How the bodies of one kind look; lengths in pixels, ranges are (low, high) of a uniform draw.

    Attributes:
        length: Half of the long axis.
        aspect: Short over long axis.
        hematoxylin, eosin, hemoglobin: Optical density inside.
        irregular: Amplitude of the outline's deviation from an ellipse.
        rim: How much denser the outline is (nuclear membrane), negative for central density.
        clumps: Contrast of the chromatin texture.
        nucleoli: Most nucleoli in a body.
        soft: Width of the edge in pixels.
        opacity: 1 replaces what lies below, less lets it shine through.
    """

    length: tuple[float, float]
    aspect: tuple[float, float] = (0.7, 1.0)
    hematoxylin: tuple[float, float] = (0.8, 1.1)
    eosin: tuple[float, float] = (0.2, 0.3)
    hemoglobin: tuple[float, float] = (0.0, 0.0)
    irregular: float = 0.05
    rim: float = 0.0
    clumps: float = 0.15
    nucleoli: int = 0
    soft: float = 1.0
    opacity: float = 1.0

    def scaled(self, factor: float) -> Look:
        """The same look with all lengths times ``factor``."""
        low, high = self.length
        return replace(self, length=(low * factor, high * factor), soft=max(self.soft * factor, 0.6))


@dataclass(frozen=True)
class _Drawn:
    """Patches of a batch of n bodies: top-left corner int [n, 2] and float [n, side, side] each."""

    corner: NDArray[np.intp]
    cover: Field
    hematoxylin: Field
    eosin: Field
    hemoglobin: Field


def draw(
    rng: np.random.Generator,
    stains: Stains,
    points: Points,
    look: Look,
    angles: NDArray[np.float32] | None = None,
) -> None:
    """Draw one body at every point (y, x) float [n, 2] into the stain maps, in place, later ones on top.

    ``angles`` are the directions of the long axes in radians, float [n]; None draws them at random.
    """
    height, width = stains.hematoxylin.shape
    reach = look.length[1] * (1 + 2 * look.irregular) + 2
    y, x = points.T
    near = (y > -reach) & (y < height + reach) & (x > -reach) & (x < width + reach)
    points = points[near]
    directions = rng.uniform(0, math.pi, len(near)).astype(np.float32) if angles is None else angles
    directions = directions[near]
    side = 2 * math.ceil(reach) + 1
    for start in range(0, len(points), _BATCH):
        part = slice(start, start + _BATCH)
        _blend(stains, _patches(rng, points[part], directions[part], look, side))


def _patches(rng: np.random.Generator, points: Points, angles: NDArray[np.float32], look: Look, side: int) -> _Drawn:
    n = len(points)

    def each(span: tuple[float, float]) -> Field:
        return rng.uniform(*span, n).astype(np.float32)[:, None, None]

    corner = np.floor(points).astype(np.intp) - side // 2
    offset = np.arange(side, dtype=np.float32)
    dy = offset[None, :, None] + (corner[:, 0] - points[:, 0])[:, None, None]
    dx = offset[None, None, :] + (corner[:, 1] - points[:, 1])[:, None, None]
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    long = each(look.length)
    u = (dx * cos + dy * sin) / long
    v = (dy * cos - dx * sin) / (long * each(look.aspect))
    radius = np.sqrt(u * u + v * v) + np.float32(1e-4)
    radius /= _outline(rng, u / radius, v / radius, look.irregular)
    cover = 1 / (1 + np.exp(np.clip((radius - 1) * long / np.float32(0.5 * look.soft), -30, 30)))
    density = _chromatin(rng, radius, u, v, look)
    return _Drawn(
        corner,
        (cover * look.opacity).astype(np.float32),
        (each(look.hematoxylin) * density).astype(np.float32),
        np.broadcast_to(each(look.eosin), cover.shape),
        np.broadcast_to(each(look.hemoglobin) * density, cover.shape),
    )


def _outline(rng: np.random.Generator, cos: Field, sin: Field, irregular: float) -> Field:
    """Radius of the outline relative to the ellipse: second and third harmonics of random phase."""
    a, b = rng.normal(0, irregular, (2, len(cos), 2)).astype(np.float32)[:, :, :, None, None]
    cos2, sin2 = cos * cos - sin * sin, 2 * cos * sin
    cos3, sin3 = cos2 * cos - sin2 * sin, sin2 * cos + cos2 * sin
    outline = 1 + a[:, 0] * cos2 + a[:, 1] * sin2 + b[:, 0] * cos3 + b[:, 1] * sin3
    return np.asarray(np.clip(outline, 0.5, 1.6), dtype=np.float32)


def _chromatin(rng: np.random.Generator, radius: Field, u: Field, v: Field, look: Look) -> Field:
    """Relative density inside: membrane, clumps and nucleoli."""
    n = len(radius)
    density = 1 + look.rim * np.exp(-(((radius - 0.85) / 0.18) ** 2)) - 0.35 * look.rim
    if look.clumps:
        density = density + look.clumps * _cuttings(rng, n, radius.shape[1])
    for _ in range(look.nucleoli):
        centre = rng.uniform(-0.45, 0.45, (2, n)).astype(np.float32)[..., None, None]
        size = rng.uniform(0.12, 0.24, n).astype(np.float32)[:, None, None]
        present = (rng.random(n) < 0.75).astype(np.float32)[:, None, None]
        gap = ((u - centre[0]) ** 2 + (v - centre[1]) ** 2) / size**2
        density = density + present * 0.9 * np.exp(-np.minimum(gap, 30))
    return np.asarray(np.clip(density, 0.05, 3), dtype=np.float32)


def _cuttings(rng: np.random.Generator, n: int, side: int) -> Field:
    """Squares cut at random from one sheet of noise with grains of about 1.5 um at 0.5 um/px: [n, side, side]."""
    sheet = noise(rng, (2 * side + 64, 2 * side + 64), 2.6)
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (side, side))
    y, x = rng.integers(0, len(windows), (2, n))
    return np.asarray(windows[y, x])


def _blend(stains: Stains, drawn: _Drawn) -> None:
    height, width = stains.hematoxylin.shape
    side = drawn.cover.shape[1]
    canvases = stains.hematoxylin, stains.eosin, stains.hemoglobin
    layers = list(zip(canvases, (drawn.hematoxylin, drawn.eosin, drawn.hemoglobin), strict=True))
    for i, (top, left) in enumerate(drawn.corner.tolist()):
        y0, x0 = max(top, 0), max(left, 0)
        y1, x1 = min(top + side, height), min(left + side, width)
        if y0 >= y1 or x0 >= x1:
            continue
        part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        cover = drawn.cover[i][part]
        for canvas, patch in layers:
            below = canvas[y0:y1, x0:x1]
            below += cover * (patch[i][part] - below)
