"""Mask files and label arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aczerots.errors import InputError
from aczerots.slides.base import Box, LabelMap
from aczerots.slides.image import ArraySlide
from aczerots.slides.labels import MaskFile
from aczerots.slides.pixels import nearest
from aczerots.taxonomy import IGNORE

SLIDE = ArraySlide("s", np.zeros((4, 6, 3), dtype=np.uint8))


def _mask(tmp_path, array, mode=None):
    image = Image.fromarray(np.asarray(array))
    (image.convert(mode) if mode else image).save(tmp_path / "m.png")
    return tmp_path / "m.png"


def test_codes_are_mapped_and_255_is_always_ignore(tmp_path):
    array = np.array([[1, 2, 9, 255, 0, 1]] * 4, dtype=np.uint8)
    labels = MaskFile(_mask(tmp_path, array), SLIDE, {0: IGNORE, 1: 0, 2: 1, 9: 2})
    assert isinstance(labels, LabelMap)
    got = labels.read(Box(0, 0, 6, 4), (6, 4))
    assert got.dtype == np.uint8
    assert np.array_equal(got, [[0, 1, 2, IGNORE, IGNORE, 0]] * 4)


def test_palette_mask_gives_indices_not_colours(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2, 0, 1, 2]] * 4, dtype=np.uint8))
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.save(tmp_path / "p.png")
    labels = MaskFile(tmp_path / "p.png", SLIDE, {0: 0, 1: 1, 2: 2})
    assert np.array_equal(labels.read(Box(0, 0, 6, 1), (6, 1)), [[0, 1, 2, 0, 1, 2]])


def test_unknown_code_names_file_id_count_and_first_place(tmp_path):
    array = np.zeros((4, 6), dtype=np.uint8)
    array[2, 3] = array[3, 0] = 7
    with pytest.raises(InputError) as caught:
        MaskFile(_mask(tmp_path, array), SLIDE, {0: 0}).read(Box(0, 0, 1, 1), (1, 1))
    text = str(caught.value)
    assert "m.png" in text
    assert "2 pixels have the id 7" in text
    assert "x=3, y=2" in text


@pytest.mark.parametrize("code", [300, 65535])
def test_sixteen_bit_codes_are_checked_not_cut(tmp_path, code):
    array = np.zeros((4, 6), dtype=np.uint16)
    array[1, 1] = code
    with pytest.raises(InputError, match=f"1 pixel has the id {code}"):
        MaskFile(_mask(tmp_path, array), SLIDE, {0: 0, 44: 1}).read(Box(0, 0, 1, 1), (1, 1))


def test_size_other_than_the_slide_names_both(tmp_path):
    with pytest.raises(InputError, match=r"m\.png: the mask is 5 x 4 but its image is 6 x 4"):
        MaskFile(_mask(tmp_path, np.zeros((4, 5), np.uint8)), SLIDE, {0: 0}).read(Box(0, 0, 1, 1), (1, 1))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colour_picture_is_refused(tmp_path, mode):
    with pytest.raises(InputError, match=f"picture of mode {mode}"):
        MaskFile(_mask(tmp_path, np.zeros((4, 6), np.uint8), mode), SLIDE, {0: 0}).read(Box(0, 0, 1, 1), (1, 1))


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("m.jpg", {}),
        ("m.png", {"format": "JPEG", "quality": 100}),
        ("m.tif", {"compression": "jpeg"}),
    ],
)
def test_a_mask_in_lossy_compression_is_refused_whatever_its_name(tmp_path, name, how):
    Image.new("L", (6, 4)).save(tmp_path / name, **how)
    with pytest.raises(InputError, match=r"the mask is a JPEG, which alters ids\. Save it as PNG"):
        MaskFile(tmp_path / name, SLIDE, {0: 0}).read(Box(0, 0, 1, 1), (1, 1))


@pytest.mark.parametrize("name", ["m.tif", "m.gif", "m.png"])
def test_a_mask_of_several_pages_is_refused(tmp_path, name):
    pages = [Image.new("L", (6, 4), color) for color in range(3)]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="the mask has 3 pages"):
        MaskFile(tmp_path / name, SLIDE, {0: 0}).read(Box(0, 0, 1, 1), (1, 1))


def test_a_stack_of_imagej_with_one_directory_is_refused(tmp_path):
    Image.new("L", (6, 4)).save(tmp_path / "m.tif", description="ImageJ=1.53\nimages=7\nslices=7\n")
    with pytest.raises(InputError, match="the mask has 7 pages"):
        MaskFile(tmp_path / "m.tif", SLIDE, {0: 0}).read(Box(0, 0, 1, 1), (1, 1))


@pytest.mark.parametrize("marked", [True, False])
def test_the_levels_of_a_pyramid_are_no_further_pages(tmp_path, marked):
    tifffile = pytest.importorskip("tifffile")
    codes = np.arange(24, dtype=np.uint8).reshape(4, 6) % 2
    with tifffile.TiffWriter(tmp_path / "m.tif") as tiff:
        tiff.write(codes)
        tiff.write(codes[::2, ::2], subfiletype=int(marked))
    labels = MaskFile(tmp_path / "m.tif", SLIDE, {0: 0, 1: 1})
    assert np.array_equal(labels.read(Box(0, 0, 6, 4), (6, 4)), codes)


def test_missing_mask(tmp_path):
    with pytest.raises(InputError, match="missing"):
        MaskFile(tmp_path / "m.png", SLIDE, {0: 0}).read(Box(0, 0, 1, 1), (1, 1))


def test_beyond_the_edge_is_ignore():
    labels = np.ones((4, 6), dtype=np.uint8)
    got = nearest(labels, Box(-2, -1, 10, 6), (10, 6))
    expected = np.full((6, 10), IGNORE)
    expected[1:5, 2:8] = 1
    assert np.array_equal(got, expected)


def test_nearest_neighbour_by_hand():
    labels = np.array([[0, 1, 2, 3]] * 4, dtype=np.uint8)
    assert np.array_equal(nearest(labels, Box(0, 0, 4, 4), (2, 2)), [[1, 3]] * 2)
    assert np.array_equal(nearest(labels, Box(0, 0, 4, 4), (8, 1)), [[0, 0, 1, 1, 2, 2, 3, 3]])


@given(
    x=st.integers(-20, 20),
    y=st.integers(-20, 20),
    w=st.integers(1, 30),
    h=st.integers(1, 30),
    k=st.integers(1, 4),
)
def test_enlarging_repeats_every_pixel(x, y, w, h, k):
    labels = np.random.default_rng(0).integers(0, 5, (11, 13), dtype=np.uint8)
    once = nearest(labels, Box(x, y, w, h), (w, h))
    assert np.array_equal(nearest(labels, Box(x, y, w, h), (w * k, h * k)), once.repeat(k, 0).repeat(k, 1))
