"""The training command on a few small images, and the measures of the benchmark."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from benchmarks.measures import balanced_accuracy, bootstrap, confusion, iou, mean_iou
from PIL import Image
from tools.train_embedded.attributes import ATTRIBUTES, attribute_matrix
from tools.train_embedded.cells import DrawnCells
from tools.train_embedded.data import crops, restain, sources
from tools.train_embedded.fit import TrainingSettings, save, train
from tools.train_embedded.lexicon import Lexicon, levels_vector
from tools.train_embedded.readings import fitted_readings

from aczerots.backbones.embedded import EmbeddedBackbone
from aczerots.backbones.embedded.morphology import measurement_names
from aczerots.errors import InputError

TINY = TrainingSettings(tiles=1, phantom=1, drawn=4, warm=3, steps=3, batch_tiles=8, batch_cells=8)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("lung_n", "oral_oscc"):
        (tmp_path / "pretrain" / name).mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(60, 250, (40, 40, 3), dtype=np.uint8).repeat(6, 0).repeat(6, 1)
            Image.fromarray(pixels).save(tmp_path / "pretrain" / name / f"{i}.png")
    for split, stem in (("train", "1_a"), ("test", "6_b")):
        (tmp_path / "ebhi" / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((224, 224, 3), 200, np.uint8)).save(tmp_path / "ebhi/images" / f"{stem}.png")
        with (tmp_path / "ebhi" / "split.csv").open("a") as file:
            file.write(("image,split\n" if split == "train" else "") + f"{stem},{split}\n")
    return tmp_path


def test_test_splits_are_not_read(folder):
    found = sources(folder)
    assert [s.name for s in found] == ["lung_n", "oral_oscc", "ebhi_1"]
    assert all("6_b" not in str(f) for s in found for f in s.files)
    assert all(sum(s.tissues.values()) == pytest.approx(1) for s in found)


def test_no_images_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no training images"):
        sources(tmp_path)


def test_crops_and_stains_are_seeded(folder):
    source = sources(folder)[0]
    first, again = ([*crops(source, 3, np.random.default_rng(5))] for _ in range(2))
    assert all(np.array_equal(a, b) and a.shape == (224, 224, 3) for a, b in zip(first, again, strict=True))
    varied = restain(first[0], np.random.default_rng(1))
    assert varied.dtype == np.uint8
    assert np.abs(varied.astype(int) - first[0]).mean() > 2


@pytest.mark.slow
def test_training_is_seeded_and_its_weights_load(folder, tmp_path):
    files = []
    for i in range(2):
        state = torch.get_rng_state()
        files.append(tmp_path / f"{i}.safetensors")
        save(*train(folder, TINY, lambda line: None), TINY, files[-1])
        torch.set_rng_state(state)
    first, again = (EmbeddedBackbone(file) for file in files)
    assert first.info == again.info
    out = first.encode_image(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert torch.isfinite(out.layers).all()


def test_measures_by_hand():
    truth, answer = np.array([0, 0, 1, 1, 255]), np.array([0, 1, 1, 1, 0])
    counts = confusion(truth, answer, 3)
    assert counts.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert iou(counts)[:2].tolist() == pytest.approx([1 / 2, 2 / 3])
    assert np.isnan(iou(counts)[2])
    assert mean_iou(counts) == pytest.approx(7 / 12)
    assert balanced_accuracy(counts) == pytest.approx(3 / 4)


def test_interval_holds_the_value_and_shrinks():
    rng = np.random.default_rng(0)
    images = np.stack([confusion(rng.integers(0, 2, 50), rng.integers(0, 2, 50), 2) for _ in range(200)])
    small, large = (bootstrap(images[:n], mean_iou) for n in (10, 200))
    assert large.low <= large.value <= large.high
    assert large.high - large.low < small.high - small.low


def test_readings_are_ridge_towards_the_definitions():
    """Against the closed form on measurements that tell the levels by construction, and the limit of a strong pull."""
    lexicon, m = Lexicon(), len(measurement_names())
    generator = torch.Generator().manual_seed(0)
    names = (("stroma",), ("blood",), ("lymphocytes",))
    truth = torch.eye(3)[torch.arange(60) % 3].view(6, 10, 3)
    views = torch.randn(1, 6, 10, m, generator=generator)
    levels = torch.stack([levels_vector(lexicon.by_name[n].levels) for (n,) in names])
    columns = {name: i for i, name in enumerate(ATTRIBUTES)}
    views[0, ..., 0] = truth @ levels[:, columns["pink"]]
    cells = DrawnCells(views, truth, names)
    weights = fitted_readings([cells], lexicon, torch.zeros(m), torch.ones(m), pull=0.1)
    x = views[0].flatten(0, 1).clamp(-3, 3)
    y = (truth.flatten(0, 1) @ levels)[:, columns["pink"]]
    x, y = x - x.mean(0), y - y.mean()
    definition = attribute_matrix()[:, columns["pink"]]
    said = x @ definition
    definition = definition * max(float(said @ y / (said @ said)), 0.01)
    augmented = torch.cat([x / 60**0.5, 0.1**0.5 * torch.eye(m)])
    goal = torch.cat([y / 60**0.5, 0.1**0.5 * definition])
    direct = torch.linalg.lstsq(augmented, goal[:, None]).solution[:, 0]
    torch.testing.assert_close(weights[:, columns["pink"]], direct, atol=2e-3, rtol=1e-2)
    strong = fitted_readings([cells], lexicon, torch.zeros(m), torch.ones(m), pull=1e6)
    torch.testing.assert_close(strong[:, columns["pink"]], definition, atol=1e-4, rtol=1e-3)
