"""Drawn tissues without architecture: fibres, sheets of cells, matrices and fluids."""

from __future__ import annotations

import numpy as np

from aczerots.datasets.phantom.fields import cells, scatter
from aczerots.datasets.phantom.nuclei import Look, draw
from aczerots.datasets.phantom.optics import Stains
from aczerots.datasets.phantom.tissues import flow
from tools.train_embedded.brush import ATYPICAL, BLAND, DUST, HOLE, LYMPHOCYTE, RED, SPINDLE, Brush


def _fibrous(
    b: Brush, eosin: tuple[float, float], spacing: float, look: Look, haem: float = 0.07, gaps: float = 0.8
) -> Stains:
    f = flow(b.rng, b.shape, b.px, wave=b.u(0.5, 6), wander=b.u(8, 40))
    fine, coarse = f.fibres(b.rng, b.u(0.8, 3), b.u(15, 60)), f.fibres(b.rng, b.u(4, 14), b.u(45, 200))
    body = b.u(*eosin) * (1 + 0.22 * fine + 0.2 * coarse)
    cleft = np.clip((-coarse - b.u(0.6, 1.4)) * 2.5, 0, 1) * gaps
    s = b.stains(haem * (1 + 0.3 * coarse) * (1 - cleft), body * (1 - cleft))
    b.dots(s, spacing, look, along=f.across)
    return s


def stroma(b: Brush) -> Stains:
    """Collagen, dense or loose, with fibroblasts and stray lymphocytes."""
    s = _fibrous(b, (0.3, 0.6), b.u(14, 24), SPINDLE)
    b.dots(s, b.u(25, 60), LYMPHOCYTE)
    return s


def loose(b: Brush) -> Stains:
    """Pale, oedematous, wispy tissue."""
    s = _fibrous(b, (0.1, 0.22), b.u(16, 26), SPINDLE, 0.04)
    b.dots(s, b.u(20, 50), LYMPHOCYTE)
    return s


def inflamed(b: Brush) -> Stains:
    """Stroma with many immune cells."""
    s = _fibrous(b, (0.22, 0.5), b.u(16, 24), SPINDLE)
    b.dots(s, b.u(9, 14), LYMPHOCYTE, where=b.n(25) + 0.9)
    return s


def muscle(b: Brush) -> Stains:
    """Bundles of strongly eosinophilic cells with long nuclei."""
    return _fibrous(
        b, (0.5, 0.75), b.u(13, 20), Look((5, 9), (0.15, 0.28), (0.55, 0.9), rim=0.15), b.u(0.08, 0.16), 0.5
    )


def spindle_tumor(b: Brush) -> Stains:
    """Crowded spindle cells in fascicles."""
    return _fibrous(b, (0.25, 0.45), b.u(7, 9.5), Look((4.5, 9), (0.25, 0.42), (0.6, 1.1), irregular=0.06), 0.15, 0.4)


def lymphoid(b: Brush) -> Stains:
    """Sheets of small round dark nuclei."""
    s = b.stains(b.u(0.08, 0.2) + 0.04 * b.n(3), b.u(0.1, 0.28) + 0.05 * b.n(4))
    b.dots(s, b.u(6.8, 10), LYMPHOCYTE)
    return s


def plasma(b: Brush) -> Stains:
    """Plasma cells: round nuclei, purple cytoplasm."""
    s = b.stains(0.24 + 0.06 * b.n(6), 0.3 + 0.06 * b.n(6))
    b.dots(s, b.u(9, 12), Look((2.8, 3.8), (0.85, 1.0), (0.8, 1.1), clumps=0.3))
    return s


def small_cell(b: Brush) -> Stains:
    """Dense moulded dark nuclei with hardly any cytoplasm."""
    s = b.stains(0.2 + 0.04 * b.n(4), 0.2 + 0.04 * b.n(4))
    b.dots(s, b.u(7, 8.5), Look((3.2, 5.2), (0.5, 0.85), (0.75, 1.2), irregular=0.06, clumps=0.12))
    return s


def _sheet(b: Brush, spacing: float, haem: float, eosin: float, edge: float, look: Look) -> Stains:
    points = scatter(b.rng, b.shape, spacing * b.px, 0.22)
    _, border = cells(points, b.shape)
    rim = np.exp(-((border / (1.2 * b.px)) ** 2))
    grain, patch = b.n(2), b.n(30)
    s = b.stains(
        haem + 0.04 * grain + 0.03 * patch - 0.5 * haem * rim * (edge < 0),
        eosin + 0.05 * grain + 0.05 * patch + edge * rim,
    )
    h, w = b.shape
    points = points[(points >= 0).all(1) & (points[:, 0] < h) & (points[:, 1] < w)]
    draw(b.rng, s, points, look.scaled(b.px), None)
    return s


def tumor(b: Brush) -> Stains:
    """Solid carcinoma."""
    s = _sheet(b, b.u(10, 14.5), b.u(0.12, 0.28), b.u(0.22, 0.45), -0.08, ATYPICAL)
    b.dots(s, 40, Look((3, 6), (0.5, 0.9), (1.0, 1.4), irregular=0.12))
    return s


def squamous_cancer(b: Brush) -> Stains:
    """Large polygonal cells with pink cytoplasm and varied nuclei."""
    return _sheet(b, b.u(14, 19), b.u(0.08, 0.18), b.u(0.4, 0.6), -0.12, ATYPICAL)


def squamous(b: Brush) -> Stains:
    """Orderly squamous epithelium."""
    return _sheet(b, b.u(13, 18), b.u(0.1, 0.2), b.u(0.3, 0.5), -0.1, BLAND)


def liver(b: Brush) -> Stains:
    """Polygonal pink cells with central round nuclei and thin sinusoids."""
    s = _sheet(
        b,
        b.u(15, 19),
        b.u(0.1, 0.2),
        b.u(0.42, 0.6),
        -0.15,
        Look((3.0, 4.0), (0.9, 1.0), (0.6, 0.9), nucleoli=1, rim=0.3),
    )
    return s


def steatosis(b: Brush) -> Stains:
    """Liver cells with round white fat droplets."""
    s = liver(b)
    b.dots(s, b.u(16, 26), Look((3, 10), (0.85, 1.0), (0.0, 0.03), (0.0, 0.03), clumps=0.0, opacity=0.98))
    return s


def clear_cells(b: Brush) -> Stains:
    """Clear cytoplasm, thin pink membranes, small round nuclei."""
    return _sheet(
        b, b.u(12, 17), b.u(0.02, 0.05), b.u(0.05, 0.12), b.u(0.2, 0.4), Look((2.6, 3.8), (0.8, 1.0), (0.6, 1.0))
    )


def foam(b: Brush) -> Stains:
    """Foamy macrophages."""
    s = _sheet(b, b.u(15, 20), 0.06, b.u(0.14, 0.25), 0.1, Look((2.6, 3.6), (0.7, 1.0), (0.5, 0.8)))
    b.dots(s, 3.5, Look((0.8, 1.5), (0.8, 1.0), (0, 0.03), (0.0, 0.05), clumps=0, opacity=0.8), keep=0.6)
    return s


def acini(b: Brush) -> Stains:
    """Basophilic exocrine acini with pink granules."""
    s = _sheet(b, b.u(10, 13), b.u(0.3, 0.42), b.u(0.3, 0.45), -0.1, Look((2.6, 3.4), (0.85, 1.0), (0.7, 0.95)))
    return s


def neuropil(b: Brush) -> Stains:
    """Fine pink fibrillary brain with sparse round nuclei."""
    s = b.stains(0.06 + 0.02 * b.n(1), b.u(0.22, 0.38) + 0.06 * b.n(1.2) + 0.04 * b.n(8))
    b.dots(s, b.u(18, 30), Look((2.6, 4.2), (0.8, 1.0), (0.5, 0.9)))
    return s


def glioma(b: Brush) -> Stains:
    """Fibrillary background with many irregular nuclei."""
    s = b.stains(0.08 + 0.02 * b.n(1), b.u(0.22, 0.36) + 0.06 * b.n(1.2))
    b.dots(s, b.u(9, 13), Look((3.0, 6.0), (0.45, 0.9), (0.7, 1.2), irregular=0.1))
    return s


def mucus(b: Brush) -> Stains:
    """Pale bluish streaky pools with very few cells."""
    f = flow(b.rng, b.shape, b.px, wave=b.u(2, 8), wander=b.u(20, 50))
    streak = f.fibres(b.rng, b.u(2, 8), b.u(30, 120))
    s = b.stains(b.u(0.03, 0.13) * (1 + 0.5 * streak), b.u(0.02, 0.09) * (1 + 0.5 * streak))
    b.dots(s, b.u(35, 90), LYMPHOCYTE)
    return s


def keratin(b: Brush) -> Stains:
    """Layered, bright pink, without nuclei."""
    f = flow(b.rng, b.shape, b.px, wave=b.u(1, 4), wander=b.u(25, 60))
    layer = f.fibres(b.rng, b.u(1.5, 4), b.u(80, 200))
    cleft = np.clip((-layer - b.u(0.8, 1.6)) * 3, 0, 1)
    return b.stains(0.06, b.u(0.45, 0.8) * (1 + 0.15 * layer) * (1 - cleft))


def hyaline(b: Brush) -> Stains:
    """Smooth pink: colloid, fibrin, bone, amyloid."""
    s = b.stains(0.04, b.u(0.35, 0.7) + 0.03 * b.n(25) + 0.015 * b.n(3))
    b.dots(s, b.u(35, 90), Look((2.5, 5), (0.25, 0.6), (0.5, 0.9)))
    return s


def cartilage(b: Brush) -> Stains:
    """Smooth bluish matrix with lacunae."""
    s = b.stains(b.u(0.18, 0.38) + 0.04 * b.n(30), b.u(0.05, 0.18) + 0.02 * b.n(20))
    b.dots(s, b.u(22, 34), HOLE)
    b.dots(s, b.u(24, 36), Look((2.2, 3.4), (0.6, 1.0), (0.7, 1.0)))
    return s


def necrosis(b: Brush) -> Stains:
    """Granular pink debris, ghosts and nuclear dust."""
    s = b.stains(0.08 + 0.05 * b.n(1.5), b.u(0.28, 0.5) + 0.1 * b.n(1.8) + 0.1 * b.n(20))
    b.dots(s, 15, Look((3.2, 5.5), (0.6, 1.0), (0.1, 0.28), (0.3, 0.5), irregular=0.1, opacity=0.6))
    b.dots(s, b.u(4, 7), DUST, where=b.n(16) + b.u(-0.4, 0.5))
    return s


def neutrophils(b: Brush) -> Stains:
    """Pus: many small lobed fragments in pink-grey fluid."""
    s = b.stains(0.08 + 0.04 * b.n(3), b.u(0.15, 0.3) + 0.06 * b.n(3))
    b.dots(s, b.u(4.5, 6), Look((1.2, 2.2), (0.6, 1.0), (0.8, 1.3), clumps=0.1))
    return s


def blood(b: Brush) -> Stains:
    """Red cells, packed or scattered."""
    s = b.stains(0.03, b.u(0.05, 0.2) + 0.03 * b.n(6), b.u(0, 0.1))
    b.dots(s, b.u(5.2, 7.5), RED)
    return s


def glass(b: Brush) -> Stains:
    """Empty background."""
    return b.stains(0.01, 0.012 + 0.006 * b.n(60))
