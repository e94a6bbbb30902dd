"""Layouts as others released them: codes, names, splits, geometry."""

import numpy as np
import pytest
from layouts import HER2ST_HEADER, make_bcss, make_her2st, make_voc, make_wsss4luad, write_image, write_mask

from aczerots.datasets.bcss import bcss_dataset
from aczerots.datasets.her2st import her2st_dataset
from aczerots.datasets.voc import voc_dataset
from aczerots.datasets.wsss4luad import wsss4luad_dataset
from aczerots.errors import InputError
from aczerots.slides.base import Box
from aczerots.taxonomy import IGNORE


def labels_of(sample):
    width, height = sample.slide.size
    return sample.truth.read(Box(0, 0, width, height), (width, height))


def test_wsss4luad_background_is_ignored_and_the_release_split_is_kept(tmp_path):
    dataset = wsss4luad_dataset(make_wsss4luad(tmp_path))
    assert dataset.taxonomy.names == ("tumor epithelium", "tumor-associated stroma", "normal lung tissue")
    assert {s.slide.id: s.split for s in dataset.samples} == {
        **{f"v0{i}": "train" for i in range(4)},
        **{f"t0{i}": "test" for i in range(4)},
    }
    raw = np.random.default_rng(0).choice(np.arange(4, dtype=np.uint8), (30, 40))
    assert np.array_equal(labels_of(dataset["v00"]), np.where(raw == 3, IGNORE, raw))


def test_bcss_codes_patients_and_resolution(tmp_path):
    dataset = bcss_dataset(make_bcss(tmp_path))
    sample = dataset.samples[0]
    assert sample.patient == "TCGA-A1-A0S0"
    assert sample.slide.mpp == 0.25
    raw = np.random.default_rng(0).choice(np.arange(22, dtype=np.uint8), (30, 40))
    expected = np.full_like(raw, IGNORE)
    for code, position in {1: 0, 19: 0, 20: 0, 2: 1, 3: 2, 4: 3, 9: 4, 10: 5}.items():
        expected[raw == code] = position
    assert np.array_equal(labels_of(sample), expected)
    assert dataset.taxonomy.names[4:] == ("fat", "plasma cells")


def test_bcss_code_beyond_the_table_and_foreign_name(tmp_path):
    root = make_bcss(tmp_path)
    name = next((root / "masks").iterdir())
    write_mask(name, (22,))
    with pytest.raises(InputError, match="id 22"):
        [labels_of(s) for s in bcss_dataset(root).samples]
    write_image(root / "rgbs_colorNormalized" / "mine.png")
    write_mask(root / "masks" / "mine.png", (1,))
    with pytest.raises(InputError, match="'mine' does not start with a TCGA barcode"):
        bcss_dataset(root)


def test_voc_lists_codes_and_unseen_classes(tmp_path):
    dataset = voc_dataset(make_voc(tmp_path))
    assert [s.split for s in dataset.samples] == ["train"] * 3 + ["test"] * 2
    assert dataset.taxonomy.names[15:] == ("pottedplant", "sheep", "sofa", "train", "tvmonitor")
    assert len(dataset.taxonomy) == 20
    # The published palette: aeroplane 128,0,0 and tvmonitor 0,64,128.
    assert dataset.taxonomy.classes[0].color == (128, 0, 0)
    assert dataset.taxonomy.classes[19].color == (0, 64, 128)
    raw = np.random.default_rng(0).choice(np.array([*range(21), 255], dtype=np.uint8), (30, 40))
    expected = np.where((raw == 0) | (raw == 255), IGNORE, raw.astype(int) - 1)
    assert np.array_equal(labels_of(dataset["2008_000000"]), expected)


def test_voc_image_in_both_lists_or_without_mask(tmp_path):
    root = make_voc(tmp_path)
    lists = root / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text("2008_000000\n")
    with pytest.raises(InputError, match="listed twice"):
        voc_dataset(root)
    (lists / "val.txt").write_text("2008_999999\n")
    with pytest.raises(InputError, match="without a mask: 2008_999999"):
        voc_dataset(root)


def test_her2st_discs_lie_where_the_array_says(tmp_path):
    root = make_her2st(tmp_path)
    write_image(root / "A1.png", (1280, 1360))
    sample = her2st_dataset(root)["A1"]
    assert sample.patient == "A"
    assert sample.slide.mpp == pytest.approx(5.0)
    labels = labels_of(sample)
    # Spot (11, 11) is ten steps of 40 px from the corner; it is 100 um = 20 px wide.
    assert labels[400, 400] == labels[400, 409] == 0
    assert labels[400, 411] == labels[388, 388] == IGNORE
    assert labels[400, 600] == IGNORE  # spot (16, 11) is undetermined
    assert labels[600, 400] == 2  # spot (11, 16), connective tissue: y runs downwards
    assert labels[500, 500] == IGNORE
    disc = (labels[380:421, 380:421] != IGNORE).sum()
    assert disc == pytest.approx(np.pi * 10**2, rel=0.03)


def test_her2st_spots_do_not_depend_on_the_reduction_of_the_image(tmp_path):
    root = make_her2st(tmp_path)
    before = her2st_dataset(root)["A1"]
    small = before.truth.read(Box(0, 0, 320, 340), (320, 340))
    write_image(root / "A1.png", (640, 680))
    after = her2st_dataset(root)["A1"]
    assert after.slide.mpp == pytest.approx(10.0)
    same = (after.truth.read(Box(0, 0, 640, 680), (320, 340)) == small).mean()
    assert same > 0.999


def test_her2st_single_section_is_cut_into_halves(tmp_path):
    root = make_her2st(tmp_path, ("A1",))
    dataset = her2st_dataset(root)
    first, second = dataset.samples
    assert (first.split, second.split, first.patient, second.patient) == ("train", "test", None, None)
    assert first.slide.size[0] * first.slide.size[1] + second.slide.size[0] * second.slide.size[1] == 320 * 340
    joined = np.concatenate((labels_of(first), labels_of(second)), axis=0 if first.slide.size[0] == 320 else 1)
    uncut = her2st_dataset(make_her2st(tmp_path, ("A1", "B1")))["A1"]
    assert np.array_equal(joined, labels_of(uncut))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("s\t3\t4\t1\t1\tcancer\n", "unknown label 'cancer'"),
        ("s\t3\tfour\t1\t1\tinvasive cancer\n", "line 2: the coordinate 'four' is no number"),
        ("s\t3\tnan\t1\t1\tinvasive cancer\n", "no number"),
        ("s\t3\n", "no number"),
        ("s\t50\t4\t1\t1\tinvasive cancer\n", "outside the 33 x 35 array"),
        ("s\t5\t4\t1\t1\tundetermined\n", "no spot has a class"),
        ("", "no spot has a class"),
    ],
)
def test_her2st_bad_tables(tmp_path, row, message):
    root = make_her2st(tmp_path, ("A1",))
    (root / "A1_labeled_coordinates.tsv").write_text(HER2ST_HEADER + row)
    with pytest.raises(InputError, match=message):
        her2st_dataset(root)


def test_her2st_image_missing_or_not_cut_to_the_array(tmp_path):
    root = make_her2st(tmp_path, ("A1",))
    write_image(root / "A1.png", (320, 200))
    with pytest.raises(InputError, match="not cut to the spot array"):
        her2st_dataset(root)
    (root / "A1.png").unlink()
    with pytest.raises(InputError, match="no image 'A1'"):
        her2st_dataset(root)


def test_a_voc_list_that_is_no_text_is_named(tmp_path):
    make_voc(tmp_path)
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"val\.txt"):
        voc_dataset(tmp_path)
