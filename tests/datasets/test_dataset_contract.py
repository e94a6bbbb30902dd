"""What every kind of dataset promises."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from layouts import make_bcss, make_contributed, make_folder, make_her2st, make_voc, make_wsss4luad
from tests.contributing import install_example

from aczerots.datasets.locate import GROUP, LAYOUTS, locate_dataset
from aczerots.slides.base import Box, LabelMap, Slide
from aczerots.slides.tiling import cut_tiles
from aczerots.taxonomy import IGNORE

SPLIT = "image,split,patient\na,train,1\nb,train,1\nc,test,2\nd,train,\ne,test,\n"

KINDS = {
    "folder": lambda root: f"folder:{make_folder(root)}",
    "folder with split": lambda root: f"folder:{make_folder(root, split=SPLIT)}",
    "wsss4luad": lambda root: f"wsss4luad:{make_wsss4luad(root)}",
    "wsss4luad without test masks": lambda root: f"wsss4luad:{make_wsss4luad(root, test_masks=False)}",
    "bcss": lambda root: f"bcss:{make_bcss(root)}",
    "her2st": lambda root: f"her2st:{make_her2st(root)}",
    "her2st, one section": lambda root: f"her2st:{make_her2st(root, ('A1',))}",
    "voc": lambda root: f"voc:{make_voc(root)}",
    "voc without lists": lambda root: f"voc:{make_voc(root, lists=False)}",
    "phantom": lambda root: "phantom:4,size=96",
    "two_folders": lambda root: f"two_folders:{make_contributed(root)}",
}


@pytest.fixture(scope="module", autouse=True)
def contributed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The example of CONTRIBUTING.md as another package that announces it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("package")
        install_example("Add a dataset", GROUP, "two_folders = two_folders_dataset", folder, patch)
        yield


def test_every_layout_has_an_example():
    assert {name.replace(",", "").split()[0] for name in KINDS} == {*LAYOUTS, "phantom", "two_folders"}


@pytest.fixture(params=KINDS)
def locator(request, tmp_path):
    return KINDS[request.param](tmp_path / "data")


@pytest.fixture
def dataset(locator):
    return locate_dataset(locator)


def whole(slide):
    width, height = slide.size
    return Box(0, 0, width, height)


def test_slides_and_truth_satisfy_the_protocols_and_ids_are_unique(dataset):
    ids = [s.slide.id for s in dataset.samples]
    assert len(set(ids)) == len(ids) > 0
    for s in dataset.samples:
        assert isinstance(s.slide, Slide)
        assert isinstance(s.truth, LabelMap)
        assert dataset[s.slide.id] is s


def test_tiles_partition_every_slide(dataset):
    for s in dataset.samples:
        count = np.zeros(s.slide.size[::-1], dtype=int)
        for t in cut_tiles(s.slide, 16):
            assert t.slide == s.slide.id
            count[t.box.y : t.box.y + t.box.height, t.box.x : t.box.x + t.box.width] += 1
        assert (count == 1).all()


def test_images_and_labels_have_the_right_form(dataset):
    classes = set(range(len(dataset.taxonomy)))
    for s in dataset.samples:
        image = s.slide.read(whole(s.slide), (24, 20))
        assert (image.shape, image.dtype) == ((20, 24, 3), np.uint8)
        labels = s.truth.read(whole(s.slide), s.slide.size)
        assert (labels.shape, labels.dtype) == (s.slide.size[::-1], np.uint8)
        assert set(np.unique(labels).tolist()) <= classes | {IGNORE}


def test_every_split_has_labelled_pixels(dataset):
    for split in ("train", "test"):
        labels = [s.truth.read(whole(s.slide), s.slide.size) for s in dataset.samples if s.split == split]
        assert any((x != IGNORE).any() for x in labels)


def test_labels_beyond_the_slide_are_ignore(dataset):
    for s in dataset.samples:
        width, height = s.slide.size
        around = s.truth.read(Box(-7, -5, width + 14, height + 10), (width + 14, height + 10))
        inner = around[5:-5, 7:-7].copy()
        assert np.array_equal(inner, s.truth.read(whole(s.slide), s.slide.size))
        around[5:-5, 7:-7] = IGNORE
        assert (around == IGNORE).all()


def test_pixels_beyond_the_slide_mirror_it(dataset):
    s = dataset.samples[0].slide
    width, height = s.size
    inner = s.read(whole(s), s.size)
    around = s.read(Box(-9, -9, width + 18, height + 18), (width + 18, height + 18))
    assert np.array_equal(around, np.pad(inner, ((9, 9), (9, 9), (0, 0)), mode="symmetric"))


def test_reading_twice_and_loading_twice_are_equal(dataset, locator):
    again = locate_dataset(locator)
    assert again.taxonomy == dataset.taxonomy
    for a, b in zip(dataset.samples, again.samples, strict=True):
        assert (a.slide.id, a.split, a.patient) == (b.slide.id, b.split, b.patient)
        assert a.slide.fingerprint == b.slide.fingerprint
        box = whole(a.slide)
        first = a.slide.read(box, a.slide.size)
        assert np.array_equal(first, a.slide.read(box, a.slide.size))
        assert np.array_equal(first, b.slide.read(box, a.slide.size))
        labels = a.truth.read(box, a.slide.size)
        assert np.array_equal(labels, a.truth.read(box, a.slide.size))
        assert np.array_equal(labels, b.truth.read(box, a.slide.size))


def test_no_patient_is_in_both_splits(dataset):
    patients = {split: {s.patient for s in dataset.samples if s.split == split} for split in ("train", "test")}
    assert not patients["train"] & patients["test"] - {None}


def test_both_splits_have_tiles_and_fingerprints_differ(dataset):
    assert dataset.tiles("train", 16)
    assert dataset.tiles("test", 16)
    by_pixels = {}
    for s in dataset.samples:
        pixels = s.slide.read(whole(s.slide), s.slide.size).tobytes()
        assert by_pixels.setdefault(s.slide.fingerprint, pixels) == pixels
