"""A project for clients of MONAI Label: what its model sees in a region, and where answers go."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aczerots.backbones.base import Backbone
from aczerots.backbones.locate import locate_backbone
from aczerots.datasets.locate import locate_dataset
from aczerots.errors import NotFoundError
from aczerots.predict.segmenter import load_segmenter
from aczerots.project.folder import Project, init_project, open_project
from aczerots.project.regions import RegionSegmenter
from aczerots.project.rounds import propose_round
from aczerots.project.running import Running
from aczerots.project.settings import make_settings
from aczerots.slides.base import Box


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    tissue = locate_dataset("phantom:2,size=192,seed=5")
    slide = tissue.samples[0].slide
    Image.fromarray(slide.read(Box(0, 0, 192, 192), (192, 192))).save(tmp_path / "case.png")
    classes = [{"name": c.name, "color": c.color, "seen": c.name != "necrosis"} for c in tissue.taxonomy.classes]
    init_project(
        tmp_path / "project", [str(tmp_path / "*.png")], make_settings(classes=classes, tile_size=64, budget=2)
    )
    with open_project(tmp_path / "project") as opened:
        yield opened


@pytest.mark.slow
def test_a_region_shows_what_the_newest_model_sees_there(project: Project):
    segmenter = RegionSegmenter(project, Running())
    with pytest.raises(NotFoundError, match="no model yet"):
        segmenter.labels(project.slides["case"], Box(0, 0, 64, 64))
    propose_round(project, Running())
    whole = load_segmenter(project.model_file(0)).segment(project.slides["case"]).labels
    np.testing.assert_array_equal(segmenter.labels(project.slides["case"], Box(0, 0, 192, 192)), whole)
    part = segmenter.labels(project.slides["case"], Box(40, 70, 64, 32))
    assert part.shape == (32, 64)
    np.testing.assert_array_equal(part, whole[70:102, 40:104])


def test_a_newer_model_takes_the_backbone_of_the_one_before(project: Project, monkeypatch: pytest.MonkeyPatch):
    segmenter, box = RegionSegmenter(project, Running()), Box(0, 0, 64, 64)
    propose_round(project, Running())
    labels = segmenter.labels(project.slides["case"], box)
    opened: list[str] = []
    locate = locate_backbone

    def counted(locator: str, *rest: object) -> Backbone:
        opened.append(locator)
        return locate(locator, *rest)

    monkeypatch.setattr("aczerots.backbones.locate.locate_backbone", counted)
    os.utime(project.model_file(0), ns=(0, 0))  # as if it had been fitted again
    np.testing.assert_array_equal(segmenter.labels(project.slides["case"], box), labels)
    assert opened == []
    RegionSegmenter(project, Running()).labels(project.slides["case"], box)
    assert opened == ["embedded"]
