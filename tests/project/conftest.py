"""Small projects: two images of procedural tissue, three seen classes and an unseen one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aczerots.annotation.store.records import NewDraft, PickRecord, RoundState
from aczerots.datasets.base import Dataset
from aczerots.datasets.locate import locate_dataset
from aczerots.project.folder import Project, init_project, open_project
from aczerots.project.settings import make_settings
from aczerots.slides.base import Box

UNSEEN = "necrosis"
"""The unseen class of :func:`tissue_project`."""

CLASSES = [
    {"name": "tumor", "color": [200, 0, 0]},
    {"name": "stroma", "color": [0, 200, 0]},
    {"name": "lymphocytes", "color": [0, 0, 200]},
    {"name": "necrosis", "seen": False},
]


def write_image(path: Path, width: int, height: int, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    coarse = rng.integers(90, 230, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize((width, height)).save(path)
    return path


@pytest.fixture(scope="session")
def tissue() -> Dataset:
    """Three images of procedural tissue, 128 x 128."""
    return locate_dataset("phantom:3,size=128,seed=5")


@contextmanager
def tissue_project(folder: Path, tissue: Dataset, budget: int) -> Iterator[Project]:
    """A new project on the images of ``tissue``, half of the tiles read twice."""
    for sample in tissue.samples:
        pixels = sample.slide.read(Box(0, 0, 128, 128), (128, 128))
        Image.fromarray(pixels).save(folder / f"{sample.slide.id.replace(':', '_')}.png")
    classes = [{"name": c.name, "color": c.color, "seen": c.name != UNSEEN} for c in tissue.taxonomy.classes]
    settings = make_settings(classes=classes, tile_size=64, budget=budget, double=0.5)
    init_project(folder / "project", [str(folder / "*.png")], settings)
    with open_project(folder / "project") as opened:
        yield opened


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Folder with ``a.png`` (128 x 96) and ``b.png`` (64 x 64)."""
    write_image(tmp_path / "images" / "a.png", 128, 96, 0)
    write_image(tmp_path / "images" / "b.png", 64, 64, 1)
    return tmp_path / "images"


@pytest.fixture
def project(tmp_path: Path, images: Path) -> Iterator[Project]:
    """A project of both images, tiles of 64 pixels: positions 0-3 on a (64 x 48), 4 on b."""
    settings = make_settings(classes=CLASSES, tile_size=64, budget=2)
    init_project(tmp_path / "project", [str(images / "*.png")], settings)
    with open_project(tmp_path / "project") as opened:
        yield opened


def ask_for(project: Project, tiles: Sequence[int], drafts: Sequence[NewDraft] = ()) -> None:
    """Open round 1 with these tiles, without a model."""
    project.store.rounds.advance(0, RoundState.FITTED)
    picks = [PickRecord(1, i + 1, t, 1.0 - i / 10, {"coverage": 0.5}) for i, t in enumerate(tiles)]
    project.store.rounds.propose(1, "random", picks, drafts)
