"""Masks become polygons and come back the same, pixel by pixel, at any resolution."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import MultiPolygon, Polygon, box, mapping, shape

from aczerots.annotation.formats.raster import rasterise, vectorise
from aczerots.slides.base import Box
from aczerots.taxonomy import IGNORE

MASKS = arrays(np.uint8, st.tuples(st.integers(1, 17), st.integers(1, 17)), elements=st.sampled_from([0, 1, 2, IGNORE]))
CORNERS = st.integers(-(10**5), 10**5)
SIDES = st.sampled_from([17, 34, 45, 170, 1000])


@given(MASKS, CORNERS, CORNERS, SIDES)
def test_there_and_back_is_the_same_mask(mask: np.ndarray, x: int, y: int, side: int):
    window = Box(x, y, side, side)
    back = rasterise(vectorise(mask, window), window, mask.shape[::-1])
    np.testing.assert_array_equal(back, mask)


@given(MASKS, CORNERS, CORNERS, SIDES)
def test_there_and_back_through_a_file(mask: np.ndarray, x: int, y: int, side: int):
    window = Box(x, y, side, side)
    texts = [(label, json.dumps(mapping(polygon))) for label, polygon in vectorise(mask, window)]
    back = rasterise([(label, shape(json.loads(t))) for label, t in texts], window, mask.shape[::-1])
    np.testing.assert_array_equal(back, mask)


@given(MASKS)
def test_areas_are_pixel_counts_and_outlines_are_sound(mask: np.ndarray):
    window = Box(0, 0, mask.shape[1], mask.shape[0])
    found = vectorise(mask, window)
    assert all(polygon.is_valid for _, polygon in found)
    for label in (0, 1, 2):
        assert sum(p.area for i, p in found if i == label) == (mask == label).sum()


def test_a_hole_stays_open_and_the_later_region_covers_the_earlier():
    ring = Polygon(box(1, 1, 7, 7).exterior, [box(3, 3, 5, 5).exterior])
    corner = MultiPolygon([box(0, 0, 2, 2), box(6, 6, 8, 8)])
    mask = rasterise([(4, ring), (9, corner)], Box(0, 0, 8, 8), (8, 8))
    expected = np.full((8, 8), IGNORE)
    expected[1:7, 1:7] = 4
    expected[3:5, 3:5] = IGNORE
    expected[0:2, 0:2] = expected[6:8, 6:8] = 9
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(("edge", "filled"), [(2.49, 2), (2.51, 3)])
def test_a_pixel_belongs_to_the_region_that_covers_its_centre(edge: float, filled: int):
    mask = rasterise([(1, box(0, 0, edge, 1))], Box(0, 0, 4, 1), (4, 1))
    assert (mask == 1).sum() == filled


def test_regions_at_a_coarser_resolution():
    mask = rasterise([(1, box(100, 200, 108, 204))], Box(100, 200, 16, 16), (4, 4))
    expected = np.full((4, 4), IGNORE)
    expected[0, :2] = 1
    np.testing.assert_array_equal(mask, expected)


def test_nothing_drawn_is_all_ignore():
    assert vectorise(np.full((3, 3), IGNORE, np.uint8), Box(0, 0, 3, 3)) == []
    assert (rasterise([], Box(0, 0, 3, 2), (3, 2)) == IGNORE).all()
