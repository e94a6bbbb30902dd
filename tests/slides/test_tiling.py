"""Cutting slides into tiles: every pixel is in one box, every box in its window."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aczerots.errors import SettingsError
from aczerots.slides.base import Box
from aczerots.slides.image import ArraySlide
from aczerots.slides.tiling import cut_tiles

sides = st.integers(1, 900)


class _Blank:
    """A slide of any size without pixels."""

    id = "blank"
    fingerprint = ""

    def __init__(self, width, height, mpp=None):
        self.size = (width, height)
        self.mpp = mpp

    def read(self, box, size):
        raise AssertionError


@settings(max_examples=60)
@given(width=sides, height=sides, tile=st.integers(16, 300))
def test_boxes_partition_the_slide(width, height, tile):
    count = np.zeros((height, width), dtype=np.uint8)
    tiles = cut_tiles(_Blank(width, height), tile)
    for t in tiles:
        assert t.box.x >= 0
        assert t.box.y >= 0
        count[t.box.y : t.box.y + t.box.height, t.box.x : t.box.x + t.box.width] += 1
    assert (count == 1).all()
    assert sum(t.box.area for t in tiles) == width * height
    assert len({t.id for t in tiles}) == len(tiles)


@settings(max_examples=100)
@given(width=sides, height=sides, tile=st.integers(16, 300))
def test_windows_contain_their_boxes_and_stay_inside_where_they_fit(width, height, tile):
    for t in cut_tiles(_Blank(width, height), tile):
        b, w = t.box, t.window
        assert w.width == w.height == t.size == tile
        assert w.x <= b.x
        assert b.x + b.width <= w.x + w.width
        assert w.y <= b.y
        assert b.y + b.height <= w.y + w.height
        if width >= tile:
            assert 0 <= w.x <= width - tile
        if height >= tile:
            assert 0 <= w.y <= height - tile


@settings(max_examples=60)
@given(width=sides, height=sides, tile=st.integers(16, 300), ratio=st.sampled_from([0.5, 1.0, 1.37, 2.0, 4.0]))
def test_inner_is_the_box_in_the_image_read(width, height, tile, ratio):
    for t in cut_tiles(_Blank(width, height, mpp=0.5), tile, mpp=0.5 * ratio):
        rows, columns = t.inner
        scale = t.size / t.window.width
        assert 0 <= rows.start <= rows.stop <= t.size
        assert 0 <= columns.start <= columns.stop <= t.size
        assert abs((rows.stop - rows.start) - t.box.height * scale) <= 1
        assert abs((columns.stop - columns.start) - t.box.width * scale) <= 1


def test_hand_worked_width_of_500_with_tiles_of_224():
    tiles = cut_tiles(_Blank(500, 224), 224)
    assert [t.box for t in tiles] == [Box(0, 0, 167, 224), Box(167, 0, 166, 224), Box(333, 0, 167, 224)]
    assert [t.window.x for t in tiles] == [0, 138, 276]


def test_pixels_put_together_from_tiles_are_the_slide():
    pixels = np.random.default_rng(0).integers(0, 256, (70, 95, 3), dtype=np.uint8)
    slide = ArraySlide("a", pixels)
    again = np.zeros_like(pixels)
    for t in cut_tiles(slide, 32):
        b = t.box
        again[b.y : b.y + b.height, b.x : b.x + b.width] = slide.read(t.window, (32, 32))[t.inner]
    assert np.array_equal(again, pixels)


def test_settings_that_make_no_sense():
    with pytest.raises(SettingsError, match="too small"):
        cut_tiles(_Blank(100, 100), 15)
    with pytest.raises(SettingsError, match="no resolution"):
        cut_tiles(_Blank(100, 100), 64, mpp=0.5)
