"""Drawn tissues with architecture: fat, alveoli, glands and papillae."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from aczerots.datasets.phantom.fields import cells, scatter
from aczerots.datasets.phantom.nuclei import Look
from aczerots.datasets.phantom.optics import Stains
from tools.train_embedded.brush import ATYPICAL, BLAND, DUST, LYMPHOCYTE, RED, SPINDLE, Brush


def fat(b: Brush) -> Stains:
    """Empty polygonal cells of 35-70 um with thin walls."""
    points = scatter(b.rng, b.shape, b.u(35, 75) * b.px, b.u(0.1, 0.25))
    _, border = cells(points, b.shape)
    d = border / b.px
    wall = np.exp(-((d / b.u(0.8, 1.8)) ** 2))
    s = b.stains(0.06 * wall, b.u(0.25, 0.5) * wall)
    b.dots(s, 9, Look((2.8, 5), (0.25, 0.5), (0.7, 1.1)), where=3 - d, along=border, keep=0.35)
    return s


def alveoli(b: Brush) -> Stains:
    """Air spaces of 50-150 um, septa with nuclei, capillaries and gaps."""
    points = scatter(b.rng, b.shape, b.u(50, 130) * b.px, b.u(0.25, 0.4))
    _, border = cells(points, b.shape)
    d = border / b.px + 1.5 * b.n(5)
    thick = b.u(3, 7)
    wall = expit((thick - d) / 0.6) * (b.n(70) > b.u(-2.5, -1.0))
    s = b.stains(0.08 * wall, b.u(0.2, 0.45) * wall)
    b.dots(s, b.u(8, 12), Look((2.5, 5), (0.35, 0.8), (0.6, 1.0)), where=thick - d, along=border)
    b.dots(s, b.u(7, 12), RED, where=thick + 1 - d, keep=b.u(0, 0.8))
    b.dots(s, b.u(60, 160), Look((4, 7), (0.8, 1.0), (0.2, 0.4), (0.3, 0.5)))
    return s


def malignant_glands(b: Brush) -> Stains:
    """Irregular back-to-back glands: stratified dark nuclei, little mucin, ragged lumina."""
    field = b.n(b.u(18, 32)) + 0.3 * b.n(8)
    top, low = b.u(0.5, 1.3), b.u(-1.2, -0.6)
    lumen = expit((field - top) / 0.06)
    matrix = expit((low - field) / 0.08)
    cell = (1 - lumen) * (1 - matrix)
    s = b.stains(b.u(0.14, 0.26) * cell + 0.05 * matrix, b.u(0.25, 0.4) * cell + b.u(0.25, 0.45) * matrix)
    look = Look((3.4, 6.0), (0.4, 0.75), (0.6, 1.05), irregular=0.06, rim=0.3, clumps=0.2, opacity=0.85)
    b.dots(s, b.u(7.5, 9.5), look, where=(top - 0.2 - field) * (field > low + 0.1), keep=0.95)
    b.dots(s, 16, SPINDLE, where=matrix - 0.5, along=field)
    b.dots(s, 9, DUST, where=lumen - 0.5, keep=0.3)
    return s


def colon_crypts(b: Brush) -> Stains:
    """Round crypts of goblet cells with basal nuclei in a pale lamina propria."""
    points = scatter(b.rng, b.shape, b.u(70, 105) * b.px, b.u(0.05, 0.12))
    _, border = cells(points, b.shape)
    d = border / b.px - b.u(4, 9)
    cell = expit(d / 0.6)
    lumen = expit((d - b.u(20, 26)) / 0.6)
    s = b.stains((0.14 * cell + 0.04 * (1 - cell)) * (1 - lumen), (0.26 * cell + 0.16 * (1 - cell)) * (1 - lumen))
    vacuole = Look((3.5, 6), (0.6, 0.9), (0.04, 0.16), (0.02, 0.1), opacity=0.92)
    b.dots(s, b.u(6.5, 9), vacuole, where=(d > 7) * (d < 20) - 0.5, keep=b.u(0.6, 0.95))
    b.dots(s, b.u(4.6, 5.6), Look((2.4, 3.8), (0.5, 0.8), (0.65, 1.05)), where=(d > 1.5) * (d < 6) - 0.5)
    b.dots(s, b.u(10, 15), LYMPHOCYTE, where=-d - 1.5)
    b.dots(s, 18, SPINDLE, where=-d - 1.5)
    return s


def open_glands(b: Brush) -> Stains:
    """Benign glands with wide white lumina and one row of nuclei (prostate, breast, endometrium, airway)."""
    field = b.n(b.u(28, 45)) + 0.25 * b.n(10)
    top, width = b.u(0.3, 0.7), b.u(0.35, 0.6)
    lumen = expit((field - top) / 0.04)
    matrix = expit((top - width - field) / 0.05)
    cell = (1 - lumen) * (1 - matrix)
    s = b.stains(b.u(0.08, 0.2) * cell + 0.05 * matrix, b.u(0.18, 0.35) * cell + b.u(0.3, 0.55) * matrix)
    b.dots(s, b.u(5.5, 7), BLAND, where=(field > top - width) * 1.0 - (field > top - 0.4 * width))
    b.dots(s, b.u(14, 20), SPINDLE, where=matrix - 0.5)
    return s


def papillae(b: Brush) -> Stains:
    """Branching fronds with slit-like white spaces between crowded atypical cells."""
    field = b.n(b.u(18, 30)) + 0.3 * b.n(9)
    gap = expit((b.u(0.15, 0.35) - np.abs(field)) / 0.05)
    s = b.stains(0.16 * (1 - gap), b.u(0.25, 0.4) * (1 - gap))
    b.dots(s, b.u(7.5, 9.5), ATYPICAL, where=0.3 - gap)
    return s
