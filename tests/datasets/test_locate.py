"""Locator strings."""

import pytest
from layouts import make_folder

from aczerots.datasets.locate import locate_dataset
from aczerots.errors import InputError, SettingsError
from aczerots.slides.base import Box


@pytest.mark.parametrize(
    ("locator", "message"),
    [
        ("luad", "names no dataset"),
        ("zip:a", "names no dataset"),
        ("folder:", "nothing follows"),
        ("phantom:", "nothing follows"),
        ("phantom:many", "no whole number"),
        ("phantom:1", "too few"),
        ("phantom:5,size=10", "out of range"),
        ("phantom:5,size=big", "no whole number for size"),
        ("phantom:5,mpp=9", "out of range"),
        ("phantom:5,mpp=nan", "out of range"),
        ("phantom:5,seed=-1", "negative"),
        ("phantom:5,colour=1", "no option 'colour'"),
        ("phantom:5,size=96,size=128", "given twice"),
    ],
)
def test_locators_that_make_no_sense(locator, message):
    with pytest.raises(SettingsError, match=message):
        locate_dataset(locator)


def test_negative_seed():
    with pytest.raises(SettingsError, match="negative"):
        locate_dataset("phantom:5", seed=-1)


@pytest.mark.parametrize("kind", ["folder", "wsss4luad", "bcss", "her2st", "voc"])
def test_missing_folder_and_file_instead_of_folder(kind, tmp_path):
    with pytest.raises(InputError, match="nowhere: the folder does not exist"):
        locate_dataset(f"{kind}:{tmp_path / 'nowhere'}")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file, not a folder"):
        locate_dataset(f"{kind}:{tmp_path / 'file'}")


@pytest.mark.parametrize("kind", ["folder", "wsss4luad", "bcss", "her2st", "voc"])
def test_empty_folder(kind, tmp_path):
    with pytest.raises(InputError):
        locate_dataset(f"{kind}:{tmp_path}")


def test_path_may_hold_commas_and_colons(tmp_path):
    root = make_folder(tmp_path / "a,size=3:b")
    assert locate_dataset(f"folder:{root}").name == "tiny"


def test_phantom_options_and_seed():
    dataset = locate_dataset("phantom:3,size=80,seed=5,mpp=1.0", seed=9)
    slide = dataset.samples[0].slide
    assert (slide.size, slide.mpp) == ((80, 80), 1.0)
    same = locate_dataset("phantom:3,size=80,mpp=1.0", seed=5).samples[0].slide
    other = locate_dataset("phantom:3,size=80,mpp=1.0", seed=9).samples[0].slide
    box = Box(0, 0, 80, 80)
    assert (slide.read(box, (80, 80)) == same.read(box, (80, 80))).all()
    assert slide.fingerprint == same.fingerprint != other.fingerprint
    assert (slide.read(box, (80, 80)) != other.read(box, (80, 80))).any()
