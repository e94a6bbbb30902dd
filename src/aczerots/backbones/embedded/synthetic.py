"""Drawn tissues beyond the nine of the phantom, with wide ranges, so that words meet pixels they name.

Each painter draws one tissue over a whole tile; a tile then shows two or three tissues in ragged regions. Ranges
are textbook sizes in micrometres and amounts of stain as in :mod:`aczerots.datasets.phantom`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from aczerots.datasets.phantom.fields import Field, cells, fractal, noise, scatter
from aczerots.datasets.phantom.nuclei import Look, draw
from aczerots.datasets.phantom.optics import Stains, scan
from aczerots.datasets.phantom.tissues import flow

Angles = NDArray[np.float32]


@dataclass(frozen=True)
class Brush:
    """Chance, size and scale that painters share.

    Attributes:
        rng: Source of chance.
        shape: (height, width) of the tile.
        px: Pixels per micrometre.
    """

    rng: np.random.Generator
    shape: tuple[int, int]
    px: float

    def u(self, low: float, high: float) -> float:
        """Uniform draw."""
        return float(self.rng.uniform(low, high))

    def n(self, um: float) -> Field:
        """Smooth noise with blobs of ``um`` micrometres."""
        return noise(self.rng, self.shape, max(um * self.px, 1.0))

    def stains(self, haem: Field | float, eosin: Field | float, blood: float = 0.0) -> Stains:
        """Ground substance."""
        base = np.zeros(self.shape, dtype=np.float32)
        fill = [np.clip(base + v, 0, None).astype(np.float32) for v in (haem, eosin, blood)]
        return Stains(*fill)

    def dots(
        self,
        s: Stains,
        spacing: float,
        look: Look,
        where: Field | None = None,
        along: Field | None = None,
        keep: float = 1.0,
    ) -> None:
        """Bodies about ``spacing`` um apart where ``where`` > 0, along the level lines of ``along``."""
        points = scatter(self.rng, self.shape, spacing * self.px, self.u(0.2, 0.4))
        h, w = self.shape
        points = points[(points >= 0).all(1) & (points[:, 0] < h) & (points[:, 1] < w)]
        points = points[self.rng.random(len(points)) < keep]
        y, x = points.astype(int).T
        if where is not None:
            points = points[where[y, x] > 0]
            y, x = points.astype(int).T
        angle: Angles | None = None
        if along is not None:
            gy, gx = np.gradient(along)
            angle = (np.arctan2(gx, -gy)[y, x] + self.rng.normal(0, 0.2, len(y))).astype(np.float32)
        if len(points):
            draw(self.rng, s, points, look.scaled(self.px), angle)


LYMPHOCYTE = Look((2.5, 3.7), (0.8, 1.0), (0.9, 1.4), irregular=0.03, clumps=0.2)
BLAND = Look((2.8, 4.2), (0.7, 1.0), (0.55, 0.95), irregular=0.04, rim=0.2, clumps=0.15, nucleoli=1)
ATYPICAL = Look((3.4, 6.8), (0.5, 0.95), (0.5, 1.2), irregular=0.09, rim=0.4, clumps=0.2, nucleoli=2)
SPINDLE = Look((4.0, 9.0), (0.15, 0.35), (0.6, 1.0), irregular=0.05, clumps=0.12)
DUST = Look((0.6, 1.8), (0.6, 1.0), (0.7, 1.4), irregular=0.12, clumps=0.0)
HOLE = Look((3.5, 7.0), (0.7, 1.0), (0.0, 0.06), (0.0, 0.06), irregular=0.05, clumps=0.0, opacity=0.97)
RED = Look((2.6, 3.5), (0.7, 1.0), (0.0, 0.03), (0.05, 0.15), (0.35, 0.62), 0.05, 0.25, 0.0, 0, 1.0, 0.9)


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


def glass(b: Brush) -> Stains:
    """Empty background."""
    return b.stains(0.01, 0.012 + 0.006 * b.n(60))


PAINTERS: dict[str, tuple[Callable[[Brush], Stains], tuple[str, ...]]] = {
    "stroma": (stroma, ("stroma", "tumor-associated stroma", "dermis")),
    "loose": (loose, ("loose connective tissue", "edema")),
    "inflamed": (inflamed, ("complex stroma", "colonic stroma")),
    "muscle": (muscle, ("smooth muscle",)),
    "spindle": (spindle_tumor, ("spindle cell tumor",)),
    "lymphoid": (lymphoid, ("lymphocytes", "lymph node")),
    "plasma": (plasma, ("plasma cells",)),
    "small_cell": (small_cell, ("small cell carcinoma", "basal cell carcinoma")),
    "tumor": (tumor, ("tumor nests", "tumor epithelium", "invasive cancer", "large cell carcinoma")),
    "squamous_cancer": (squamous_cancer, ("oral squamous cell carcinoma", "squamous cell carcinoma of the lung")),
    "squamous": (squamous, ("esophagus",)),
    "liver": (liver, ("liver",)),
    "steatosis": (steatosis, ("steatosis",)),
    "clear": (clear_cells, ("clear cell renal cell carcinoma",)),
    "foam": (foam, ("macrophages",)),
    "acini": (acini, ("pancreas",)),
    "neuropil": (neuropil, ("brain",)),
    "glioma": (glioma, ("glioblastoma", "glioma")),
    "mucus": (mucus, ("mucus",)),
    "keratin": (keratin, ("keratin",)),
    "hyaline": (hyaline, ("fibrin", "bone")),
    "cartilage": (cartilage, ("cartilage",)),
    "necrosis": (necrosis, ("necrosis",)),
    "neutrophils": (neutrophils, ("neutrophils",)),
    "blood": (blood, ("blood",)),
    "fat": (fat, ("adipose tissue",)),
    "alveoli": (alveoli, ("normal lung tissue",)),
    "malignant_glands": (
        malignant_glands,
        ("colorectal adenocarcinoma", "lung tumor epithelium", "high-grade intraepithelial neoplasia"),
    ),
    "crypts": (colon_crypts, ("normal colonic gland", "normal glands")),
    "open_glands": (open_glands, ("prostate gland", "normal breast", "normal glands")),
    "papillae": (papillae, ("papillary adenocarcinoma", "serous carcinoma")),
    "glass": (glass, ("background",)),
}
"""Painter and the names in the profile table that fit what it draws."""


def tile(rng: np.random.Generator, size: int = 224) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """One drawn tile of one to three tissues.

    Returns:
        RGB uint8 [size, size, 3] and painter number (order of :data:`PAINTERS`) [size, size].
    """
    brush = Brush(rng, (size, size), 1 / float(rng.uniform(0.4, 1.0)))
    count = int(rng.choice([1, 2, 3], p=[0.25, 0.5, 0.25]))
    chosen = rng.choice(len(PAINTERS), count, replace=False)
    fields = np.stack([fractal(rng, brush.shape, float(rng.uniform(60, 120))) for _ in chosen])
    labels = chosen[fields.argmax(0)]
    total = brush.stains(0.0, 0.0)
    painters = list(PAINTERS.values())
    for number in np.unique(labels):
        painted = painters[number][0](brush)
        inside = labels == number
        for name in ("hematoxylin", "eosin", "hemoglobin"):
            getattr(total, name)[inside] = getattr(painted, name)[inside]
    return scan(rng, total), labels
