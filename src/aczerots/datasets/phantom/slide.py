"""Phantom slides: generated when first read, kept in a bounded store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from aczerots.datasets.phantom.layout import SCENES, Layout, lay_out
from aczerots.datasets.phantom.optics import Stains, scan
from aczerots.datasets.phantom.tissues import PAINTERS, Canvas
from aczerots.slides.base import Box
from aczerots.slides.pixels import PixelCache, crop_mirrored, nearest, resample

GENERATOR_VERSION = 2
"""Part of the fingerprint; raise it whenever the same seed would give other pixels."""


@dataclass(frozen=True)
class SlideRecipe:
    """What decides a phantom slide: seed of the dataset, number, (width, height) in pixels, micrometres per pixel."""

    seed: int
    index: int
    size: tuple[int, int]
    mpp: float


def generate(recipe: SlideRecipe) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """RGB uint8 [h, w, 3] and exact tissue ids uint8 [h, w]; the same recipe gives the same ones in any process."""
    rng = np.random.default_rng([recipe.seed, recipe.index])
    order = np.random.default_rng([recipe.seed, 0x5CE9E]).permutation(len(SCENES))
    scene = SCENES[order[recipe.index % len(SCENES)]]
    shape = (recipe.size[1], recipe.size[0])
    layout = lay_out(rng, scene, shape, 1 / recipe.mpp)
    return scan(rng, _paint(rng, layout, 1 / recipe.mpp)), layout.labels


def _paint(rng: np.random.Generator, layout: Layout, px: float) -> Stains:
    shape = layout.labels.shape
    stains = Stains(*(np.zeros(shape, dtype=np.float32) for _ in range(3)))
    canvas = Canvas(rng, layout, stains, px)
    present = set(np.unique(layout.labels).tolist())
    for tissue, paint in PAINTERS.items():
        if int(tissue) in present:
            paint(canvas)
    return stains


@final
class PhantomSlide:
    """A generated slide, held in a cache; satisfies :class:`~aczerots.slides.base.Slide`."""

    def __init__(self, recipe: SlideRecipe, cache: PixelCache) -> None:
        self.recipe = recipe
        self._cache = cache
        self.id = f"phantom-{recipe.index:04d}"
        self.size, self.mpp = recipe.size, recipe.mpp

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the generator version and the recipe, written as it always was: caches are found by it."""
        r = self.recipe
        facts = f"Recipe(seed={r.seed}, index={r.index}, size={r.size}, mpp={r.mpp})"
        return hashlib.sha256(f"phantom {GENERATOR_VERSION} {facts}".encode()).hexdigest()

    def read(self, box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Pixels of ``box`` resampled to ``size``, mirrored beyond the edge: RGB uint8 [height, width, 3]."""
        return resample(crop_mirrored(self._stack()[..., :3], box), size)

    def labels(self) -> NDArray[np.uint8]:
        """Exact tissue ids uint8 [height, width]."""
        return self._stack()[..., 3]

    def _stack(self) -> NDArray[np.uint8]:
        """RGB and tissue id as one uint8 [h, w, 4], so that both are generated and dropped together."""
        return self._cache.get(self.recipe, lambda: np.dstack(generate(self.recipe)))


@final
class PhantomLabels:
    """Exact truth of a phantom slide; satisfies :class:`~aczerots.slides.base.LabelMap`."""

    def __init__(self, slide: PhantomSlide) -> None:
        self._slide = slide

    def read(self, box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Label ids of ``box`` by nearest neighbour, IGNORE beyond the slide: uint8 [height, width]."""
        return nearest(self._slide.labels(), box, size)
