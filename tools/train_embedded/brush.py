"""The brush and the bodies that drawn tissues share; lengths in micrometres, amounts of stain as in the phantom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aczerots.datasets.phantom.fields import Field, noise, scatter
from aczerots.datasets.phantom.nuclei import Look, draw
from aczerots.datasets.phantom.optics import Stains

Map = NDArray[np.floating[Any]]
"""Any float [h, w]."""


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

    def stains(self, haem: Map | float, eosin: Map | float, blood: float = 0.0) -> Stains:
        """Ground substance."""
        base = np.zeros(self.shape, dtype=np.float32)
        fill = [np.clip(base + v, 0, None).astype(np.float32) for v in (haem, eosin, blood)]
        return Stains(*fill)

    def dots(
        self,
        s: Stains,
        spacing: float,
        look: Look,
        where: Map | None = None,
        along: Map | None = None,
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
        angle: NDArray[np.float32] | None = None
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
