"""Tissue is found on clean, inked, blank and faint slides; the mask answers in level-0 pixels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from aczerots.slides.base import Box
from aczerots.slides.image import ArraySlide
from aczerots.slides.open import open_slide
from aczerots.slides.tissue import TissueMask, everything, find_tissue, tissue_of

PINK, PURPLE = (214, 150, 190), (120, 80, 150)


def drawn(strength: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A small picture of a slide and its truth: a disc of pink and purple patches on glass, with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:300, :500]
    truth = (y - 150) ** 2 + (x - 160) ** 2 < 100**2
    patches = rng.random((30, 50)).repeat(10, 0).repeat(10, 1) < 0.4
    tissue = np.where(patches[..., None], PURPLE, PINK)
    picture = np.where(truth[..., None], tissue, (243, 241, 244)).astype(float)
    picture = 244 - (244 - picture) * strength + rng.normal(0, 2, (300, 500, 1))
    return picture.clip(0, 255).astype(np.uint8), truth


def agreement(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.25])
def test_tissue_is_found_however_faint(strength: float) -> None:
    picture, truth = drawn(strength)
    assert agreement(tissue_of(picture, 8.0), truth) > 0.93


@pytest.mark.parametrize("ink", [(20, 40, 160), (10, 130, 70), (25, 25, 30), (200, 20, 30)])
def test_ink_is_no_tissue(ink: tuple[int, int, int]) -> None:
    picture, truth = drawn()
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).line([(300, 40), (460, 90), (320, 200)], fill=ink, width=9)
    ImageDraw.Draw(image).ellipse([40, 30, 290, 275], outline=ink, width=5)
    assert agreement(tissue_of(np.asarray(image), 8.0), truth) > 0.85
    assert not tissue_of(np.asarray(image), 8.0)[:, 300:].any()


def test_nothing_is_found_on_glass_with_shading_dust_and_noise() -> None:
    rng = np.random.default_rng(0)
    glass = np.full((300, 500, 3), (238, 236, 239.0)) - np.linspace(0, 14, 500)[None, :, None]
    glass[:, 400:404] -= 30  # the edge of the cover slip
    glass[100:104, 100:104] = 60  # dust
    blank = (glass + rng.normal(0, 3, glass.shape)).clip(0, 255).astype(np.uint8)
    assert not tissue_of(blank, 8.0).any()
    assert not tissue_of(np.full((50, 60, 3), 255, dtype=np.uint8), 8.0).any()
    assert not tissue_of(np.zeros((50, 60, 3), dtype=np.uint8), 8.0).any()


def test_tissue_without_any_glass_is_tissue() -> None:
    assert tissue_of(drawn()[0][100:200, 110:210], 8.0).all()


def test_crowded_nuclei_are_no_ink() -> None:
    """Lymphocytes of a strongly blue stain absorb more red than green."""
    picture, truth = drawn()
    picture[120:180, 130:190] = (65, 80, 130)
    assert tissue_of(picture, 8.0)[120:180, 130:190].all()
    assert agreement(tissue_of(picture, 8.0), truth) > 0.93


def test_fat_is_tissue_and_a_tear_is_not() -> None:
    """Cells of 100 micrometres whose walls are 1.5 thick, inside dense tissue, beside an empty hole."""
    picture = np.full((300, 500, 3), 244, dtype=np.uint8)
    picture[20:280, 20:480] = PINK
    picture[60:240, 60:220] = 243
    picture[60:240:25, 60:220] = picture[60:240, 60:220:25] = (233, 203, 222)
    picture[60:240, 280:440] = 243
    found = tissue_of(picture, 4.0)
    assert found[65:235, 65:215].all()
    assert not found[65:235, 285:435].any()


def test_grey_pictures_have_tissue_too() -> None:
    picture, truth = drawn()
    grey = picture.mean(axis=2, keepdims=True).repeat(3, axis=2).astype(np.uint8)
    assert agreement(tissue_of(grey, 8.0), truth) > 0.93


def test_a_pale_detail_is_tissue_to_its_rim() -> None:
    """Without any glass, the palest tissue is not taken for it."""
    rng = np.random.default_rng(0)
    pale = np.array((236, 212, 226)) + rng.normal(0, 3, (400, 400, 1))
    slide = ArraySlide("a", pale.clip(0, 255).astype(np.uint8), 0.5)
    assert find_tissue(slide).read(Box(0, 0, 400, 400), (400, 400)).all()


def test_the_edge_is_exact_and_the_same_in_every_box() -> None:
    y, x = np.mgrid[:1500, :1500]
    disc = (y - 700) ** 2 + (x - 800) ** 2 < 500**2
    slide = ArraySlide("a", np.where(disc[..., None], PINK, (243, 241, 244)).astype(np.uint8), 0.5)
    mask = find_tissue(slide)
    found = mask.read(Box(0, 0, 1500, 1500), (1500, 1500))
    assert agreement(found, disc) > 0.985
    assert (found & ~disc).sum() < 0.015 * disc.sum()
    parts = [[mask.read(Box(i, j, 300, 500), (300, 500)) for i in range(0, 1500, 300)] for j in range(0, 1500, 500)]
    np.testing.assert_array_equal(np.block(parts), found)


@given(st.integers(-40, 300), st.integers(-40, 300), st.integers(1, 200), st.integers(1, 200), st.integers(0, 9))
@example(300, 300, 200, 200, 0)
def test_any_agrees_with_the_pixels(x: int, y: int, width: int, height: int, seed: int) -> None:
    small = np.random.default_rng(seed).random((9, 12)) < 0.05
    mask = TissueMask(small, (240, 180))  # 20 level-0 pixels per pixel of the mask
    large = np.pad(small.repeat(20, 0).repeat(20, 1), 500)  # as far as any box reaches
    part = large[y + 500 : y + 500 + height, x + 500 : x + 500 + width]
    assert mask.any(Box(x, y, width, height)) == part.any()
    assert np.array_equal(mask.read(Box(x, y, width, height), (width, height)), part)


def test_everything_is_everything() -> None:
    slide = ArraySlide("a", np.full((70, 90, 3), 255, dtype=np.uint8))
    assert everything(slide).any(Box(80, 60, 40, 40))
    assert not everything(slide).any(Box(90, 70, 40, 40))
    assert everything(slide).mask.all()
    assert not find_tissue(slide).mask.any()


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "mpp", "low", "high"),
    [("cmu-1-small-region.svs", None, 0.35, 0.48), ("tcga-cr-7395-01a-01-ts1.svs", 0.5, 0.58, 0.72)],
)
def test_real_slides(name: str, mpp: float | None, low: float, high: float, shared_data: Path) -> None:
    assert low < find_tissue(open_slide(shared_data / "slides" / name, mpp)).mask.mean() < high
