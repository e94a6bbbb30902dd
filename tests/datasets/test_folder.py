"""Our own layout: what it means and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import FOLDER_YAML, make_folder, write_image, write_mask
from PIL import Image

from aczerots.datasets.folder import folder_dataset
from aczerots.datasets.split import seeded_split
from aczerots.errors import InputError
from aczerots.slides.base import Box
from aczerots.taxonomy import IGNORE

HEADER = "image,split,patient\n"


def test_void_class_leaves_the_taxonomy_and_ids_close_up(tmp_path):
    dataset = folder_dataset(make_folder(tmp_path))
    assert dataset.taxonomy.names == ("tumor", "stroma")
    assert dataset.taxonomy.seen.tolist() == [True, False]
    assert dataset.taxonomy.classes[0].descriptions == ("crowded dark nuclei",)
    slide = dataset["a"].slide
    assert slide.mpp == 0.5
    raw = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], dtype=np.uint8), (30, 40))
    expected = np.select([raw == 0, raw == 2], [0, 1], IGNORE)
    assert np.array_equal(dataset["a"].truth.read(Box(0, 0, 40, 30), (40, 30)), expected)


def test_the_resolution_of_the_dataset_holds_against_images_and_is_told_once(tmp_path):
    root = make_folder(tmp_path)
    for path in sorted((root / "images").iterdir()):
        Image.open(path).save(path.with_suffix(".tif"), dpi=(25400 / 0.25, 25400 / 0.25))
        path.unlink()
    dataset = folder_dataset(root)
    assert {s.slide.mpp for s in dataset.samples} == {0.5}
    assert len(dataset.notes) == 4
    assert "a.tif: 0.5 micrometres per pixel are used, as given; the file states 0.25" in dataset.notes[0]
    assert dataset.notes[-1] == "... and 2 more of this kind"


def test_split_csv_decides_and_unlisted_images_are_left_out(tmp_path):
    rows = "image,split,patient,grade\na,train,p1,2\nc,test,p2,1\n"
    dataset = folder_dataset(make_folder(tmp_path, split=rows))
    assert [(s.slide.id, s.split, s.patient) for s in dataset.samples] == [("a", "train", "p1"), ("c", "test", "p2")]


def test_split_csv_may_start_with_a_byte_order_mark_and_have_no_patients(tmp_path):
    root = make_folder(tmp_path)
    (root / "split.csv").write_text("image,split\r\na,train\r\nb,test\r\n", encoding="utf-8-sig")
    assert {s.slide.id: s.split for s in folder_dataset(root).samples} == {"a": "train", "b": "test"}


def test_mask_without_image_is_no_problem_unless_listed(tmp_path):
    root = make_folder(tmp_path)
    write_mask(root / "masks" / "spare.png", (0,))
    assert len(folder_dataset(root).samples) == 5
    (root / "split.csv").write_text("image,split\na,train\nspare,test\n")
    with pytest.raises(InputError, match="do not exist: spare"):
        folder_dataset(root)


def test_images_without_masks_are_named(tmp_path):
    root = make_folder(tmp_path)
    for i in range(7):
        write_image(root / "images" / f"lonely{i}.png")
    with pytest.raises(InputError, match=r"7 image\(s\) without a mask: lonely0.*and 2 more"):
        folder_dataset(root)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (HEADER + "a,train,1\na,test,2\n", "line 3: image 'a' is listed twice"),
        (HEADER + "a,pool,1\n", "line 2: split 'pool' is neither"),
        (HEADER + "a,train,1\nb,test,1\n", r"1 patient\(s\) are in train and in test: 1"),
        (HEADER + "a\n", "line 2: split '' is neither"),
        ("name,split\na,train\n", "column 'image' is missing"),
        ("", "column 'image' is missing"),
        (HEADER + "z,train,1\n", "do not exist: z"),
    ],
)
def test_bad_split_csv(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        folder_dataset(make_folder(tmp_path, split=rows))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [a\nclasses: 3\n", r"dataset\.yaml, line 2: this is not YAML"),
        (FOLDER_YAML + "colour: red\n", "unknown key 'colour'"),
        (FOLDER_YAML.replace("seen:", "sean:"), r"unknown key 'classes\.2\.sean'"),
        (FOLDER_YAML.replace("200, 0, 0", "300, 0, 0"), r"'classes\.0\.color\.0'"),
        (FOLDER_YAML.replace("0.5", "-1"), "'mpp'"),
        (FOLDER_YAML.replace("stroma", "tumor"), "class 'tumor' is listed twice"),
        ("name: a\nclasses: []\n", "'classes'"),
        ("name: a\nclasses: [{name: glass, void: true}]\n", "all classes are void"),
        ("", "'content'"),
        ("- a\n- b\n", "'content'"),
        ("name: \x00a\n", "not YAML"),
    ],
)
def test_bad_dataset_yaml(tmp_path, text, message):
    root = make_folder(tmp_path)
    (root / "dataset.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        folder_dataset(root)


def test_dataset_yaml_that_is_no_text_or_missing(tmp_path):
    root = make_folder(tmp_path)
    (root / "dataset.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        folder_dataset(root)
    (root / "dataset.yaml").unlink()
    with pytest.raises(InputError, match=r"dataset\.yaml is missing"):
        folder_dataset(root)


def test_no_images(tmp_path):
    root = make_folder(tmp_path)
    for file in (root / "images").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="no image in the folder"):
        folder_dataset(root)


def test_two_images_of_one_name(tmp_path):
    root = make_folder(tmp_path)
    write_image(root / "images" / "a.tif")
    with pytest.raises(InputError, match=r"a\.png and a\.tif have the same name"):
        folder_dataset(root)


def test_unreadable_folder(tmp_path, monkeypatch):
    root = make_folder(tmp_path)
    listing = Path.iterdir

    def refused(path):
        if path.name == "masks":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    # Not by chmod: tests may run as root, who may read everything.
    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(InputError, match=r"masks: the folder cannot be read \(Permission denied\)"):
        folder_dataset(root)


@given(
    patients=st.lists(st.sampled_from(["", "p", "q", "r", "s", "t"]), min_size=2, max_size=40),
    seed=st.integers(0, 5),
)
def test_seeded_split_keeps_patients_together_and_order_does_not_matter(patients, seed):
    known = {f"i{k}": p for k, p in enumerate(patients)}
    split = seeded_split(list(known), seed, known)
    assert split == seeded_split(list(known)[::-1], seed, known)
    for p in set(patients) - {""}:
        assert len({split[n] for n in known if known[n] == p}) == 1
    groups = len(set(patients) - {""}) + patients.count("")
    if groups > 1:
        assert set(split.values()) == {"train", "test"}


def test_seeded_split_is_seventy_to_thirty_and_follows_the_seed():
    names = [f"n{i:03d}" for i in range(100)]
    splits = [seeded_split(names, seed) for seed in (0, 1)]
    assert [list(s.values()).count("train") for s in splits] == [70, 70]
    assert splits[0] != splits[1]
