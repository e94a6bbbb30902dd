"""A zero-shot model and a phantom slide for the tests of maps."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.slides.pyramids import write_svs

from aczerots.backbones.embedded import load_embedded
from aczerots.datasets.phantom.classes import phantom_taxonomy
from aczerots.datasets.phantom.slide import SlideRecipe, generate
from aczerots.engine.progress import Progress
from aczerots.predict.segmenter import Segmenter
from aczerots.predict.slide_map import MapOptions, SlideMap, SlideTask, segment_slide
from aczerots.prozs.checkpoint import ModelCard, save_model
from aczerots.prozs.presets import build_model, locate_preset
from aczerots.slides.base import Slide
from aczerots.storage.remote import OutFolder
from aczerots.text.descriptions import describe_taxonomy
from aczerots.text.prototypes import text_prototypes


def map_slide(segmenter: Segmenter, slide: Slide, out: Path, options: MapOptions, progress: Progress) -> SlideMap:
    """Segment a slide into a folder."""
    return segment_slide(SlideTask(segmenter, slide, OutFolder(out), options), progress)


@pytest.fixture(scope="session")
def segmenter() -> Segmenter:
    """Zero-shot segmenter of the phantom's classes, fitted (so to say) at 0.5 micrometres per pixel."""
    backbone = load_embedded()
    taxonomy = describe_taxonomy(phantom_taxonomy(), "descriptions")
    seen = torch.from_numpy(taxonomy.seen)
    model = build_model(locate_preset("zeroshot"), backbone.info, text_prototypes(backbone, taxonomy), seen, 0)
    card = ModelCard(
        preset="zeroshot",
        taxonomy=taxonomy,
        backbone=backbone.info,
        backbone_hash=backbone.info.hash,
        tile_size=224,
        mpp=0.5,
    )
    return Segmenter(model, card, backbone)


@pytest.fixture(scope="session")
def model_file(segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The segmenter as a model file."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, segmenter.model, segmenter.card)
    return path


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """A round section of phantom tissue on glass, RGB uint8 [1100, 1200, 3] at 0.5 micrometres per pixel."""
    tissue, _ = generate(SlideRecipe(11, 3, (1000, 1000), 0.5))
    picture = np.full((1100, 1200, 3), 243, dtype=np.uint8)
    y, x = np.mgrid[:1000, :1000]
    disc = (y - 500) ** 2 + (x - 500) ** 2 < 490**2
    picture[50:1050, 150:1150][disc] = tissue[disc]
    return picture


@pytest.fixture(scope="session")
def svs(pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The section as a whole slide."""
    return write_svs(tmp_path_factory.mktemp("slide") / "section.svs", pixels, (4,))
