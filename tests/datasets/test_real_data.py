"""The real images beside the repository, counted."""

import numpy as np
import pytest

from aczerots.datasets.locate import locate_dataset
from aczerots.slides.base import Box
from aczerots.taxonomy import IGNORE

pytestmark = pytest.mark.data


def pixel_counts(dataset, split):
    """Pixels per label id, int [256], of a split, read tile by tile."""
    counts = np.zeros(256, dtype=np.int64)
    for tile in dataset.tiles(split, 512):
        labels = dataset[tile.slide].truth.read(tile.box, (tile.box.width, tile.box.height))
        counts += np.bincount(labels.ravel(), minlength=256)
    return counts


def test_luad_pool_shares(shared_data):
    dataset = locate_dataset(f"folder:{shared_data / 'luad'}")
    counts = pixel_counts(dataset, "train")
    shares = 100 * counts[[0, 1, 2, IGNORE]] / counts.sum()
    assert shares == pytest.approx([31.2, 36.5, 8.7, 23.5], abs=0.06)
    assert [sum(s.split == part for s in dataset.samples) for part in ("train", "test")] == [40, 31]
    assert dataset.taxonomy.names == ("tumor epithelium", "tumor-associated stroma", "normal lung tissue")


@pytest.mark.parametrize(("name", "train", "test", "classes"), [("ebhi", 829, 345, 7), ("glas", 66, 19, 3)])
def test_colon_sets_have_their_splits_and_patients(shared_data, name, train, test, classes):
    dataset = locate_dataset(f"folder:{shared_data / name}")
    assert [sum(s.split == part for s in dataset.samples) for part in ("train", "test")] == [train, test]
    assert len(dataset.taxonomy) == classes
    assert all(s.patient for s in dataset.samples)
    some = [s for s in dataset.samples if s.split == "test"][::12]
    for s in some:
        width, height = s.slide.size
        labels = s.truth.read(Box(0, 0, width, height), (width, height))
        assert labels.max() < classes


def test_her2st_spots_lie_on_the_tissue_they_name(shared_data):
    dataset = locate_dataset(f"her2st:{shared_data / 'her2st'}")
    assert [s.slide.size[0] for s in dataset.samples] == [2000, 2000]
    assert sum(s.slide.size[1] for s in dataset.samples) == 2138
    # The section is 6.4 x 6.8 mm in 2000 x 2138 pixels.
    assert dataset.samples[0].slide.mpp == pytest.approx(3.19, abs=0.01)
    counts = np.zeros(256, dtype=np.int64)
    brightness = {}
    for s in dataset.samples:
        width, height = s.slide.size
        box = Box(0, 0, width, height)
        labels, image = s.truth.read(box, s.slide.size), s.slide.read(box, s.slide.size)
        counts += np.bincount(labels.ravel(), minlength=256)
        for label in np.unique(labels[labels != IGNORE]).tolist():
            brightness.setdefault(label, []).append(image[labels == label].mean(axis=1))
    # 284 invasive, 21 in situ, 24 connective, 12 adipose and 2 immune spots, each a disc of 100 um.
    spots = counts[:5] / (np.pi * (50 / dataset.samples[0].slide.mpp) ** 2)
    assert spots == pytest.approx([284, 21, 24, 12, 2], rel=0.02)
    mean = {k: np.concatenate(v).mean() for k, v in brightness.items()}
    invasive, connective, adipose = (
        mean[dataset.taxonomy.index(n)] for n in ("invasive cancer", "connective tissue", "adipose tissue")
    )
    # Fat is almost empty, cancer full of nuclei. Beside the section the image is black: no disc may lie there.
    assert adipose > connective > invasive > 100


def test_voc_part(shared_data):
    dataset = locate_dataset(f"voc:{shared_data / 'voc2012'}")
    assert len(dataset.samples) == 310
    assert sum(s.split == "train" for s in dataset.samples) == 217
    labels = set()
    for s in dataset.samples[::6]:
        width, height = s.slide.size
        labels |= set(np.unique(s.truth.read(Box(0, 0, width, height), (width, height))).tolist())
    assert labels <= {*range(20), IGNORE}
    assert len(labels) > 12
