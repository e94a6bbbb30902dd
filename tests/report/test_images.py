"""Label maps and uncertainty as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from aczerots.errors import InputError
from aczerots.report.images import NEUTRAL, outlines, overlay, uncertainty_map, write_palette_png
from aczerots.taxonomy import IGNORE, Taxonomy, TissueClass

TAXONOMY = Taxonomy(
    classes=(TissueClass(name="tumor", color=(200, 0, 0)), TissueClass(name="stroma", color=(0, 200, 100)))
)


@given(labels=arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, IGNORE])))
def test_palette_png_keeps_ids_and_colours(labels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "labels.png"
    write_palette_png(path, labels, TAXONOMY)
    with Image.open(path) as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), labels)
        shown = np.asarray(picture.convert("RGB"))
    colors = {0: (200, 0, 0), 1: (0, 200, 100), IGNORE: NEUTRAL}
    assert all(tuple(shown[i]) == colors[int(labels[i])] for i in np.ndindex(labels.shape))


@pytest.mark.parametrize("labels", [np.full((2, 2), 2, np.uint8), np.zeros((2, 2), np.int64), np.zeros(4, np.uint8)])
def test_refuses_what_is_no_label_map(labels: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_palette_png(tmp_path / "a.png", labels, TAXONOMY)
    assert list(tmp_path.iterdir()) == []


def test_outlines_lie_on_both_sides_of_a_border() -> None:
    labels = np.array([[0, 0, 0, 1, 1, 1]], np.uint8)
    assert outlines(labels, 1).tolist() == [[False, False, True, True, False, False]]
    assert outlines(labels, 2).tolist() == [[False, True, True, True, True, False]]


def test_overlay_tints_inside_and_outlines_borders() -> None:
    image = np.full((1, 5, 3), 100, np.uint8)
    labels = np.array([[0, 0, 1, IGNORE, IGNORE]], np.uint8)
    shown = overlay(image, labels, TAXONOMY, alpha=0.25)[0].tolist()
    assert shown[0] == [125, 75, 75]  # 100 + 0.25 * (color - 100)
    assert shown[1] == [200, 0, 0]
    assert shown[2] == [0, 200, 100]
    assert shown[3:] == [[100, 100, 100]] * 2


def test_overlay_refuses_another_size() -> None:
    with pytest.raises(InputError, match="label map"):
        overlay(np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2), np.uint8), TAXONOMY)


def test_uncertainty_grows_steadily_in_lightness() -> None:
    ramp = uncertainty_map(np.linspace(0, 1, 64)[None, :])[0] / 255
    linear = np.where(ramp <= 0.04045, ramp / 12.92, ((ramp + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]  # ITU-R BT.709
    lightness = 116 * np.cbrt(luminance) - 16  # CIE L* above its linear toe
    steps = np.diff(lightness[4:])
    assert (steps > 0).all()
    assert steps.max() < 2.5 * np.median(steps)


def test_uncertainty_shows_undefined_as_neutral_and_refuses_others() -> None:
    assert tuple(uncertainty_map(np.array([[np.nan]]))[0, 0]) == NEUTRAL
    with pytest.raises(ValueError, match=r"0\.\.1"):
        uncertainty_map(np.array([[1.5]]))
