"""The phantom: exact, the same everywhere, and not to be told apart by colour."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from aczerots.datasets.phantom import nuclei, phantom_dataset
from aczerots.datasets.phantom.classes import Tissue
from aczerots.datasets.phantom.fields import cells, noise, sample, scatter
from aczerots.datasets.phantom.layout import SCENES
from aczerots.datasets.phantom.slide import SlideRecipe, generate

COUNT = 30


@pytest.fixture(scope="module")
def slides():
    """Images uint8 [30, 448, 448, 3] and labels uint8 [30, 448, 448] of seed 0."""
    pairs = [generate(SlideRecipe(0, i, (448, 448), 0.5)) for i in range(COUNT)]
    return np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])


def digest(recipe):
    image, labels = generate(recipe)
    return hashlib.sha256(image.tobytes() + labels.tobytes()).hexdigest()


def test_class_names():
    assert phantom_dataset(2).taxonomy.names == (
        *("tumor nests", "fibrous stroma", "lymphocyte aggregates", "necrosis", "adipose tissue"),
        *("normal glands", "smooth muscle", "blood", "background"),
    )
    assert len(Tissue) == 9


def test_same_in_another_process():
    recipe = SlideRecipe(3, 7, (160, 128), 0.5)
    code = (
        "import hashlib; from aczerots.datasets.phantom.slide import SlideRecipe, generate; "
        "a, b = generate(SlideRecipe(3, 7, (160, 128), 0.5)); "
        "print(hashlib.sha256(a.tobytes() + b.tobytes()).hexdigest())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == digest(recipe)


def test_caches_of_earlier_versions_are_still_found():
    slide = phantom_dataset(2, size=96, seed=3).samples[0].slide
    assert slide.fingerprint == "55f98a960465f02471a534d505df85e223b2280623cab57a6489fdc7d6c3dd08"


@pytest.mark.slow
def test_every_seed_and_index_is_another_slide():
    recipes = [SlideRecipe(seed, i, (96, 96), 0.5) for seed in (0, 1) for i in range(12)]
    assert len({digest(r) for r in recipes}) == len(recipes)


def test_a_slide_does_not_depend_on_how_many_there_are_or_what_was_read_before():
    few, many = phantom_dataset(3, size=96), phantom_dataset(20, size=96)
    for s in reversed(many.samples):
        s.slide.labels()
    assert np.array_equal(few["phantom-0001"].slide.labels(), many["phantom-0001"].slide.labels())


@pytest.mark.parametrize("size", [(64, 64), (65, 131), (300, 200), (500, 350)])
@pytest.mark.parametrize("mpp", [0.25, 0.5, 2.0])
def test_any_size_and_resolution(size, mpp):
    image, labels = generate(SlideRecipe(0, 1, size, mpp))
    assert image.shape == (size[1], size[0], 3)
    assert labels.shape == (size[1], size[0])
    assert labels.max() < len(Tissue)
    assert image.std() > 5


@pytest.mark.slow
def test_each_slide_has_three_to_six_classes_and_none_is_rare(slides):
    labels = slides[1]
    shares = np.stack([np.bincount(x.ravel(), minlength=9) for x in labels]) / labels[0].size
    present = (shares > 0.01).sum(axis=1)
    assert present.min() >= 3
    assert present.max() <= 6
    assert shares.mean(axis=0).min() > 0.03
    assert (shares > 0.02).sum(axis=0).min() >= 6


def test_every_class_is_in_three_scenes():
    for tissue in Tissue:
        assert sum(tissue in scene.axis or tissue in scene.within for scene in SCENES) >= 3


@pytest.mark.slow
def test_nearest_mean_colour_fails(slides):
    images, labels = slides
    train = np.arange(COUNT) < 21
    pixels, truth = images[train].reshape(-1, 3).astype(np.float32), labels[train].ravel()
    means = np.stack([pixels[truth == c].mean(axis=0) for c in range(9)])
    test = images[~train].reshape(-1, 3).astype(np.float32)
    said = ((means**2).sum(axis=1) - 2 * test @ means.T).argmin(axis=1)
    truth = labels[~train].ravel()
    iou = [((said == c) & (truth == c)).sum() / ((said == c) | (truth == c)).sum() for c in range(9)]
    assert np.mean(iou) < 0.55


@pytest.mark.slow
def test_tissues_take_up_stain_as_they_should(slides):
    images, labels = slides
    mean = np.stack([images[labels == c].mean(axis=0) for c in range(9)])
    luminance = mean.mean(axis=1)
    assert luminance[Tissue.LYMPHOCYTES] < luminance[Tissue.TUMOR] < luminance[Tissue.STROMA]
    assert luminance[Tissue.BACKGROUND] > luminance[Tissue.FAT] > luminance[Tissue.STROMA]
    # Eosin and hematoxylin both absorb green most: all tissue is pink to violet.
    assert (mean[:8, 1] < mean[:8, 0]).all()
    # Hemoglobin takes blue, hematoxylin red.
    assert mean[Tissue.BLOOD, 0] - mean[Tissue.BLOOD, 2] > 15
    assert mean[Tissue.LYMPHOCYTES, 2] > mean[Tissue.LYMPHOCYTES, 0]


@pytest.mark.slow
def test_slides_differ_in_stain_and_scanner(slides):
    images, labels = slides
    stroma = np.stack([i[x == Tissue.STROMA].mean(axis=0) for i, x in zip(images, labels, strict=True)])
    assert (stroma.std(axis=0) > 4).all()


@pytest.mark.slow
def test_regions_are_interleaved(slides):
    labels = slides[1].astype(int)
    border = (labels[:, 1:, 1:] != labels[:, :-1, 1:]) | (labels[:, 1:, 1:] != labels[:, 1:, :-1])
    # Two half-planes would have 448 border pixels.
    assert np.median(border.sum(axis=(1, 2))) > 4 * 448


@pytest.mark.slow
def test_the_work_for_a_slide_grows_with_its_area(monkeypatch):
    bodies = []
    patches = nuclei._patches

    def counted(rng, points, *rest):
        bodies.append(len(points))
        return patches(rng, points, *rest)

    monkeypatch.setattr(nuclei, "_patches", counted)
    number = {}
    for size in (224, 448):
        bodies.clear()
        for i in range(6):
            generate(SlideRecipe(9, i, (size, size), 0.5))
        number[size] = sum(bodies)
    # Bodies take most of the time: about 450 for a tile of 448 pixels.
    assert 6 * 300 < number[448] < 6 * 700
    assert number[448] < 6 * number[224]


def test_noise_has_unit_deviation_and_the_scale_asked_for():
    rng = np.random.default_rng(0)
    for scale in (1.0, 4.0, 16.0):
        field = noise(rng, (600, 600), scale)
        assert field.std() == pytest.approx(1, abs=0.12)
        assert field.mean() == pytest.approx(0, abs=0.2)
        neighbours = np.corrcoef(field[:, :-1].ravel(), field[:, 1:].ravel())[0, 1]
        assert (neighbours > 0.9) == (scale > 1.5)


def test_sample_interpolates_and_wraps():
    field = np.arange(12, dtype=np.float32).reshape(3, 4)
    y = np.array([0.0, 0.5, -1.0, 3.0], dtype=np.float32)
    x = np.array([0.5, 1.0, 0.0, 5.0], dtype=np.float32)
    assert sample(field, y, x).tolist() == [0.5, 3.0, 8.0, 1.0]


def test_cells_agree_with_brute_force():
    rng = np.random.default_rng(0)
    points = np.round(scatter(rng, (90, 120), 25.0) / 2) * 2
    owner, border = cells(points, (90, 120))
    y, x = np.mgrid[:90:2, :120:2]
    distance = np.hypot(points[:, 0, None, None] - y, points[:, 1, None, None] - x)
    nearest = np.sort(distance, axis=0)
    chosen = np.take_along_axis(distance, owner[None, ::2, ::2], axis=0)[0]
    assert np.allclose(chosen, nearest[0])
    clear = nearest[1] - nearest[0] > 12
    assert (border[::2, ::2][clear] > 3).all()
