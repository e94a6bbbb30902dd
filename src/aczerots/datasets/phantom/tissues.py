"""How each tissue takes up stain: ground substance as fields, then cells drawn on top.

Sizes are in micrometres and follow histology textbooks: lymphocyte nuclei 7 um, red cells 7 um, carcinoma
nuclei 9-15 um, fibroblast nuclei 10-18 um long, fat cells about 50 um.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aczerots.datasets.phantom.classes import Tissue
from aczerots.datasets.phantom.fields import Field, cells, fractal, inside, noise, sample, scatter
from aczerots.datasets.phantom.glands import EPITHELIUM_UM
from aczerots.datasets.phantom.layout import Layout
from aczerots.datasets.phantom.nuclei import Look, draw
from aczerots.datasets.phantom.optics import Stains

Ground = tuple[Field | float, Field | float]
"""Hematoxylin and eosin of the ground substance."""


@dataclass(frozen=True)
class Canvas:
    """What all painters of a slide need; they change the stains in place. ``px`` is pixels per micrometre."""

    rng: np.random.Generator
    layout: Layout
    stains: Stains
    px: float

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.layout.labels.shape[0], self.layout.labels.shape[1]

    def region(self, tissue: Tissue) -> NDArray[np.bool_]:
        """Bool [h, w]: pixels of a tissue."""
        return np.asarray(self.layout.labels == tissue)

    def fill(self, tissue: Tissue, ground: Ground, hemoglobin: float = 0.0) -> None:
        """Set the ground substance of a tissue."""
        region = self.region(tissue)
        for canvas, value in zip((self.stains.hematoxylin, self.stains.eosin), ground, strict=True):
            np.copyto(canvas, np.clip(value, 0, None), where=region, casting="same_kind")
        self.stains.hemoglobin[region] = hemoglobin

    def points(self, tissue: Tissue, spacing: float, jitter: float = 0.3) -> NDArray[np.float32]:
        """Points (y, x) in a tissue about ``spacing`` micrometres apart, float [n, 2]."""
        points = scatter(self.rng, self.shape, spacing * self.px, jitter)
        return points[inside(points, self.region(tissue))]

    def draw(self, points: NDArray[np.float32], look: Look, angles: NDArray[np.float32] | None = None) -> None:
        """Draw bodies whose lengths are in micrometres."""
        draw(self.rng, self.stains, points, look.scaled(self.px), angles)


@dataclass(frozen=True)
class Flow:
    """Fibres that follow the level lines of a field: coordinates across and roughly along them, float [h, w] in um."""

    across: Field
    along: Field

    def direction(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Angle of the fibres at points (y, x), radians, float [n]."""
        y, x = np.floor(points).astype(np.intp).T
        y = np.clip(y, 1, self.across.shape[0] - 2)
        x = np.clip(x, 1, self.across.shape[1] - 2)
        gy = self.across[y + 1, x] - self.across[y - 1, x]
        gx = self.across[y, x + 1] - self.across[y, x - 1]
        return np.asarray(np.arctan2(gx, -gy), dtype=np.float32)

    def fibres(self, rng: np.random.Generator, width: float, length: float) -> Field:
        """Noise drawn out along the fibres, float [h, w], deviation about 0.7."""
        texture = rng.standard_normal((128, 128), dtype=np.float32)
        return sample(texture, self.across / np.float32(width), self.along / np.float32(length))


def flow(rng: np.random.Generator, shape: tuple[int, int], px: float, wave: float, wander: float) -> Flow:
    """Fibres in a random direction that wander (large scale) and wave (small scale), in micrometres."""
    turn = rng.uniform(0, np.pi)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) / np.float32(px)
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    across = x * cos + y * sin + wander * noise(rng, shape, 75 * px) + wave * noise(rng, shape, 22 * px)
    return Flow(np.asarray(across, dtype=np.float32), y * cos - x * sin)


def paint_stroma(c: Canvas) -> None:
    """Wavy collagen with spindle nuclei along the fibres, a few stray lymphocytes."""
    f = flow(c.rng, c.shape, c.px, wave=2.6, wander=15.0)
    fine, coarse = f.fibres(c.rng, 0.9, 11), f.fibres(c.rng, 3.4, 32)
    body = 0.45 + 0.11 * fine + 0.1 * coarse + 0.08 * fractal(c.rng, c.shape, 40 * c.px, 6)
    cleft = np.clip((-coarse - 0.85) * 2.5, 0, 1) * np.clip(0.6 - fine, 0, 1)
    c.fill(Tissue.STROMA, (0.07 + 0.03 * coarse, body * (1 - 0.85 * cleft)))
    look = Look((4.0, 8.0), (0.16, 0.34), (0.6, 1.0), (0.25, 0.35), irregular=0.06, clumps=0.12)
    points = c.points(Tissue.STROMA, 17.0, 0.42)
    c.draw(points, look, f.direction(points) + c.rng.normal(0, 0.14, len(points)).astype(np.float32))
    stray = c.points(Tissue.STROMA, 34.0, 0.5)
    c.draw(stray, LYMPHOCYTE)


LYMPHOCYTE = Look((2.7, 3.7), (0.84, 1.0), (1.0, 1.45), (0.2, 0.3), irregular=0.03, clumps=0.2)


def paint_lymphocytes(c: Canvas) -> None:
    """Crowded small round dark nuclei with hardly any cytoplasm."""
    c.fill(Tissue.LYMPHOCYTES, (0.16 + 0.04 * noise(c.rng, c.shape, 3), 0.22 + 0.05 * noise(c.rng, c.shape, 4)))
    points = c.points(Tissue.LYMPHOCYTES, 7.4, 0.17)
    points = points[c.rng.random(len(points)) < 0.93]
    c.draw(points, LYMPHOCYTE)
    large = Look((3.6, 4.8), (0.75, 1.0), (0.55, 0.8), (0.15, 0.25), rim=0.4, clumps=0.2, nucleoli=1)
    c.draw(c.points(Tissue.LYMPHOCYTES, 22.0, 0.45), large)


def paint_tumor(c: Canvas) -> None:
    """Crowded large pleomorphic vesicular nuclei with nucleoli in amphophilic cytoplasm."""
    points = c.points(Tissue.TUMOR, c.rng.uniform(10.5, 13.0), 0.2)
    if len(points) < 3:
        return
    _, border = cells(points, c.shape)
    edge = np.exp(-((border / np.float32(1.1 * c.px)) ** 2))
    grain = noise(c.rng, c.shape, 2.2)
    patch = noise(c.rng, c.shape, 28 * c.px)
    hematoxylin = 0.23 + 0.04 * grain + 0.04 * patch - 0.1 * edge
    c.fill(Tissue.TUMOR, (hematoxylin, 0.4 + 0.06 * grain + 0.06 * patch - 0.12 * edge))
    big = c.rng.uniform(0.9, 1.15)
    vesicular = Look((3.6 * big, 6.6 * big), (0.6, 0.95), (0.5, 0.9), (0.16, 0.28), (0, 0), 0.07, 0.55, 0.16, 2, 0.9)
    c.draw(points, vesicular)
    dark = Look((3.0, 5.5), (0.5, 0.9), (1.0, 1.4), (0.25, 0.35), irregular=0.13, clumps=0.2)
    c.draw(c.points(Tissue.TUMOR, 42.0, 0.5), dark)
    c.draw(c.points(Tissue.TUMOR, 70.0, 0.5), LYMPHOCYTE)


def paint_necrosis(c: Canvas) -> None:
    """Granular eosinophilic debris, ghost outlines and nuclear dust."""
    grain, patch = noise(c.rng, c.shape, 1.8), fractal(c.rng, c.shape, 26 * c.px, 4)
    c.fill(Tissue.NECROSIS, (0.1 + 0.05 * grain + 0.05 * patch, 0.42 + 0.1 * grain + 0.11 * patch))
    ghost = Look((3.2, 5.5), (0.6, 1.0), (0.1, 0.28), (0.3, 0.5), (0, 0), 0.1, 0.9, 0.1, 0, 1.4, 0.6)
    c.draw(c.points(Tissue.NECROSIS, 15.0, 0.35), ghost)
    dust = Look((0.7, 1.7), (0.6, 1.0), (0.8, 1.4), (0.3, 0.5), irregular=0.12, clumps=0.0)
    points = c.points(Tissue.NECROSIS, 4.2, 0.5)
    y, x = np.floor(points).astype(np.intp).T
    busy = fractal(c.rng, c.shape, 16 * c.px, 3)[y, x]
    points = points[c.rng.random(len(points)) < 0.5 / (1 + np.exp(-(busy - 0.6) * 3))]
    c.draw(points, dust)


def paint_fat(c: Canvas) -> None:
    """Empty polygonal cells with thin walls and a flat nucleus here and there at a wall."""
    border = c.layout.fat_border / np.float32(c.px)
    thick = 1.15 + 0.3 * noise(c.rng, c.shape, 12 * c.px)
    wall = np.exp(-((border / np.clip(thick, 0.6, 2)) ** 2))
    veil = 0.012 * np.abs(noise(c.rng, c.shape, 30 * c.px))
    c.fill(Tissue.FAT, (0.09 * wall + veil, (0.5 + 0.1 * noise(c.rng, c.shape, 5 * c.px)) * wall + 2 * veil))
    points = c.points(Tissue.FAT, 9.0, 0.5)
    y, x = np.floor(points).astype(np.intp).T
    points = points[(border[y, x] < 3.0) & (c.rng.random(len(points)) < 0.4)]
    look = Look((2.8, 5.0), (0.25, 0.5), (0.8, 1.1), (0.2, 0.3), clumps=0.1)
    c.draw(points, look, Flow(border, border).direction(points))


def paint_glands(c: Canvas) -> None:
    """Columnar epithelium around a lumen: basal nuclei, goblet cells, apical border."""
    depth = c.layout.gland_depth / np.float32(c.px)
    lumen = depth - EPITHELIUM_UM
    grain = noise(c.rng, c.shape, 2.0)
    apical = 0.2 * np.exp(-((lumen / 1.3) ** 2))
    cell = (depth > 0) & (lumen < 0)
    mucus = np.abs(noise(c.rng, c.shape, 8 * c.px)) * 0.05
    hematoxylin: Field = np.where(cell, 0.17 + 0.03 * grain + apical / 2, mucus)
    eosin: Field = np.where(cell, 0.33 + 0.05 * grain + apical, 0.03 + mucus)
    eosin += 0.25 * np.exp(-((depth / 0.9) ** 2))  # the basement membrane
    c.fill(Tissue.GLANDS, (hematoxylin, eosin))
    goblet = Look((3.8, 6.0), (0.6, 0.8), (0.06, 0.2), (0.04, 0.12), irregular=0.04, clumps=0.1, opacity=0.92)
    nucleus = Look((3.0, 4.6), (0.42, 0.62), (0.7, 1.05), (0.2, 0.3), irregular=0.04, rim=0.2, clumps=0.14)
    for gland in c.layout.glands:
        points, radial = gland.ring(c.rng, (12 * c.px, 16 * c.px), 8.2 * c.px)
        some = (c.rng.random(len(points)) < 0.75) & inside(points, c.region(Tissue.GLANDS))
        c.draw(points[some], goblet, radial[some])
        points, radial = gland.ring(c.rng, (4 * c.px, 7 * c.px), 4.3 * c.px)
        some = inside(points, c.region(Tissue.GLANDS))
        c.draw(points[some], nucleus, radial[some])


def paint_muscle(c: Canvas) -> None:
    """Parallel bundles of brightly eosinophilic cells with blunt, cigar-shaped nuclei."""
    f = flow(c.rng, c.shape, c.px, wave=1.0, wander=14.0)
    cell, bundle = f.fibres(c.rng, 3.2, 90), f.fibres(c.rng, 18.0, 260)
    cleft = np.zeros(c.shape, dtype=np.float32)
    cleft[np.abs(bundle) < 0.045] += 0.5
    cleft[cell < -1.3] += 0.3
    eosin = (0.6 + 0.07 * cell + 0.05 * bundle + 0.04 * noise(c.rng, c.shape, 2.5)) * (1 - 0.6 * cleft)
    hematoxylin: Field = (0.13 + 0.03 * cell) * (1 - 0.5 * cleft)
    c.fill(Tissue.MUSCLE, (hematoxylin, eosin))
    points = c.points(Tissue.MUSCLE, 15.5, 0.36)
    look = Look((5.0, 9.0), (0.16, 0.26), (0.6, 0.9), (0.3, 0.4), irregular=0.02, rim=0.15, clumps=0.14)
    c.draw(points, look, f.direction(points) + c.rng.normal(0, 0.06, len(points)).astype(np.float32))


def paint_blood(c: Canvas) -> None:
    """Packed red cells without nuclei in pale plasma, with a white cell here and there."""
    c.fill(Tissue.BLOOD, (0.03, 0.13 + 0.03 * noise(c.rng, c.shape, 6 * c.px)), hemoglobin=0.08)
    points = c.points(Tissue.BLOOD, c.rng.uniform(5.2, 7.0), 0.22)
    red = Look((2.6, 3.5), (0.72, 1.0), (0.0, 0.03), (0.25, 0.4), (0.38, 0.62), 0.05, 0.25, 0.0, 0, 1.0, 0.85)
    c.draw(points, red)
    c.draw(c.points(Tissue.BLOOD, 45.0, 0.5), LYMPHOCYTE)


def paint_background(c: Canvas) -> None:
    """Empty glass with a trace of stain and some dust."""
    c.fill(Tissue.BACKGROUND, (0.01, 0.012 + 0.006 * noise(c.rng, c.shape, 60 * c.px)))
    dust = Look((0.5, 2.0), (0.4, 1.0), (0.1, 0.5), (0.1, 0.4), irregular=0.15, clumps=0.0, opacity=0.7)
    c.draw(c.points(Tissue.BACKGROUND, 55.0, 0.5), dust)


PAINTERS = {
    Tissue.BACKGROUND: paint_background,
    Tissue.FAT: paint_fat,
    Tissue.STROMA: paint_stroma,
    Tissue.MUSCLE: paint_muscle,
    Tissue.BLOOD: paint_blood,
    Tissue.NECROSIS: paint_necrosis,
    Tissue.GLANDS: paint_glands,
    Tissue.TUMOR: paint_tumor,
    Tissue.LYMPHOCYTES: paint_lymphocytes,
}
"""In the order of painting: later tissues overlap the edge of earlier ones."""
