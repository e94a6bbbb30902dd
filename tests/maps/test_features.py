"""Features of windows: stored once, they serve every model and say what computed ones say."""

from pathlib import Path

import numpy as np
import pytest
import torch

from aczerots.backbones.embedded import EmbeddedBackbone
from aczerots.predict.blend import cells_per_feature
from aczerots.predict.features import StoredWindows
from aczerots.predict.segmenter import Segmenter
from aczerots.prozs.presets import build_model, locate_preset
from aczerots.slides.base import Box, Tile
from aczerots.slides.image import ArraySlide

pytestmark = pytest.mark.slow

OVERLAPPING = pytest.param((300, 500), id="overlapping windows")
WITH_RIM = pytest.param((530, 520), id="windows with a rim", marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[OVERLAPPING, WITH_RIM])
def slide(request: pytest.FixtureRequest, pixels: np.ndarray) -> ArraySlide:
    height, width = request.param
    return ArraySlide("a", pixels[200 : 200 + height, 200 : 200 + width], 0.5)


@pytest.mark.parametrize("kept", [True, False], ids=["cache", "memory"])
def test_stored_windows_give_the_labels_of_computed_ones(
    kept: bool, segmenter: Segmenter, slide: ArraySlide, tmp_path: Path
) -> None:
    stored = StoredWindows(segmenter.backbone, [slide], 224, 0.5, tmp_path if kept else None)
    whole = segmenter.segment(slide)
    assert bool(segmenter.plan(slide).rim) == (max(slide.size) > 512)
    found = segmenter.segment(slide, features=stored)
    np.testing.assert_array_equal(found.labels, whole.labels)
    np.testing.assert_allclose(found.uncertainty, whole.uncertainty, atol=1e-5)


def test_a_part_of_a_slide_is_cut_out_of_the_whole(segmenter: Segmenter, slide: ArraySlide, tmp_path: Path) -> None:
    box = Box(120, 30, 200, 150)
    whole = segmenter.segment(slide).labels[30:180, 120:320]
    np.testing.assert_array_equal(segmenter.segment(slide, box).labels, whole)
    stored = StoredWindows(segmenter.backbone, [slide], 224, 0.5, tmp_path, {"a": [box]})
    tile = Tile("a", box, Box(108, 0, 224, 224), 224, 0.5)
    np.testing.assert_array_equal(segmenter.tile_labels(tile, slide, stored), whole)


def test_every_model_on_a_backbone_reads_the_same_windows(
    segmenter: Segmenter, slide: ArraySlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The paper's decoder gives sixteen times as many cells along each axis; its features are not computed again."""
    seen = torch.from_numpy(segmenter.card.taxonomy.seen)
    model = build_model(locate_preset("paper"), segmenter.backbone.info, segmenter.model.text, seen, 0).eval()
    fine = Segmenter(model, segmenter.card, segmenter.backbone)
    assert cells_per_feature(fine.model, fine.backbone.info) == 16
    one, other = segmenter.plan(slide), fine.plan(slide)
    assert other.cells == 16 * one.cells
    columns, rows = (range(line.count) for line in one.lines)
    assert [one.window(i, j) for j in rows for i in columns] == [other.window(i, j) for j in rows for i in columns]
    stored = StoredWindows(segmenter.backbone, [slide], 224, 0.5, tmp_path)
    for store in stored.stores:
        store.fill()
    monkeypatch.setattr(EmbeddedBackbone, "encode_image", None)
    assert fine.segment(slide, features=stored).labels.shape == slide.size[::-1]
