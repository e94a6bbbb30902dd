"""Fitting, calibration and model files on synthetic grids."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from aczerots.backbones.base import BackboneInfo, DenseFeatures
from aczerots.errors import InputError
from aczerots.prozs.calibrate import match_prior
from aczerots.prozs.checkpoint import ModelCard, load_model, save_model
from aczerots.prozs.fit import fit
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import PRESETS, build_model
from aczerots.prozs.training_set import TrainingSet
from aczerots.taxonomy import IGNORE, NO_SEEN, Taxonomy, TissueClass

INFO = BackboneInfo("test", "0", "value", dim=8, layer_dim=6, stride=8, logit_scale=10.0)
CLASSES = 3


class ListGrids:
    """DenseFeatures held in memory."""

    def __init__(self, aligned: torch.Tensor, layers: torch.Tensor) -> None:
        self.aligned, self.layers = aligned, layers

    def __len__(self) -> int:
        return len(self.aligned)

    def __getitem__(self, index: list[int]) -> DenseFeatures:
        return DenseFeatures(self.aligned[index], self.layers[index])


def make_set(tiles: int = 44, seed: int = 0) -> tuple[TrainingSet, torch.Tensor, torch.Tensor]:
    """Tiles of 4 x 4 cells whose layers reveal the class and whose aligned part barely does.

    Returns:
        (training set with class 2 not annotated, cell labels [n, 4, 4], text [C, d]).
    """
    g = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, CLASSES, (tiles, 4, 4), generator=g)
    text = F.normalize(torch.randn(CLASSES, 8, generator=g), dim=1)
    aligned = 0.15 * text[truth].movedim(-1, 1) + 0.1 * torch.randn(tiles, 8, 4, 4, generator=g)
    layers = F.one_hot(truth, 6).movedim(-1, 1).float() + 0.1 * torch.randn(tiles, 6, 4, 4, generator=g)
    pixels = truth.repeat_interleave(8, 1).repeat_interleave(8, 2).to(torch.uint8)
    labels = torch.where(pixels == 2, torch.tensor(IGNORE, dtype=torch.uint8), pixels)
    source = ListGrids(F.normalize(aligned, dim=1), layers)
    return TrainingSet(source, list(range(32)), labels[:32], list(range(32, tiles))), truth, text


def model_for(text: torch.Tensor, preset: str, seen: list[bool]) -> ProZS:
    return build_model(PRESETS[preset], INFO, text, torch.tensor(seen), seed=0)


def accuracy(model: ProZS, data: TrainingSet, truth: torch.Tensor, classes: list[int]) -> float:
    """Share of right cells of the tiles not annotated, among those of ``classes``."""
    rest = list(data.unlabelled)
    with torch.no_grad():
        logits = model(data.features[rest])
    cells = F.adaptive_avg_pool2d(logits, (4, 4)).argmax(dim=1)
    mask = torch.isin(truth[rest], torch.tensor(classes))
    return float((cells == truth[rest])[mask].float().mean())


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["prozs", "paper"])
def test_a_fit_learns_the_seen_classes(preset: str):
    data, truth, text = make_set()
    model = model_for(text, preset, [True, True, False])
    before = accuracy(model, data, truth, [0, 1])
    recipe = PRESETS[preset].recipe
    assert recipe is not None
    if preset == "paper":
        recipe = replace(recipe, batch=4, steps=50)
    fit(model, data, recipe, seed=0)
    after = accuracy(model, data, truth, [0, 1])
    assert after > max(0.8 if preset == "prozs" else 0.5, before)


@pytest.mark.slow
def test_prozs_keeps_unseen_classes_alive():
    data, truth, text = make_set()
    model = model_for(text, "prozs", [True, True, False])
    fit(model, data, PRESETS["prozs"].recipe, seed=0)
    assert accuracy(model, data, truth, [2]) > 0.2


@pytest.mark.slow
def test_tiles_without_a_seen_class_teach_the_unseen_one():
    data, truth, text = make_set()
    told = data.labels.clone()
    told[24:] = NO_SEEN
    layers = data.features.layers.clone()
    # Those eight tiles hold class 2 only, and the others never show it.
    layers[24:32] = 0
    layers[24:32, 2] = 1
    grids = ListGrids(data.features.aligned, layers)
    found = []
    for labels in (torch.where(told == NO_SEEN, torch.tensor(IGNORE, dtype=torch.uint8), told), told):
        model = model_for(text, "prozs", [True, True, False])
        fit(model, TrainingSet(grids, data.labelled, labels, data.unlabelled), PRESETS["prozs"].recipe, seed=0)
        found.append(accuracy(model, TrainingSet(grids, data.labelled, labels, data.unlabelled), truth, [2]))
    assert found[1] > found[0] + 0.1


def test_equal_arguments_give_equal_weights():
    data, _, text = make_set()
    states = []
    for _ in range(2):
        model = model_for(text, "prozs", [True, True, False])
        fit(model, data, PRESETS["prozs"].recipe, seed=5, steps=20)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_no_seen_pixel_is_one_clear_error():
    data, _, text = make_set()
    empty = TrainingSet(data.features, data.labelled, torch.full_like(data.labels, IGNORE), data.unlabelled)
    with pytest.raises(InputError, match="no pixel of a seen class"):
        fit(model_for(text, "prozs", [True, True, False]), empty, PRESETS["prozs"].recipe, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
def test_gamma_gives_undrawn_classes_the_share_of_the_pool_that_zero_shot_gives_them(whole: bool):
    """Also when nothing is left to draw, where nearly all cells without an answer are of undrawn classes."""
    data, _, text = make_set()
    if whole:
        data = TrainingSet(data.features, data.labelled, data.labels)
    model = model_for(text, "prozs", [True, True, False])
    fit(model, data, PRESETS["prozs"].recipe, seed=0)
    model.scorer.calibration_bias.fill_(match_prior(model, data))
    pool = data.features[[*data.labelled, *data.unlabelled]]
    with torch.no_grad():
        zero = torch.einsum("bdhw,cd->bchw", pool.aligned, text).argmax(dim=1) == 2
        fitted = model(pool).argmax(dim=1) == 2
    assert 0 < float(zero.float().mean()) < 1
    assert float(fitted.float().mean()) == pytest.approx(float(zero.float().mean()), abs=0.02)


def test_a_model_that_knows_drawn_classes_only_never_answers_another():
    data, truth, text = make_set()
    model = model_for(text, "seen-only", [True, True, False])
    recipe = PRESETS["seen-only"].recipe
    fit(model, data, recipe, seed=0)
    model.scorer.calibration_bias.fill_(recipe.calibrate(model, data))
    with torch.no_grad():
        answer = model(data.features[range(32)]).argmax(dim=1)
    assert bool((answer < 2).all())
    drawn = truth[:32] < 2
    assert float((answer == truth[:32])[drawn].float().mean()) > 0.9


def test_gamma_is_zero_when_every_class_is_drawn_or_none():
    data, truth, text = make_set()
    untrained = model_for(text, "prozs", [True, True, False])
    assert match_prior(untrained, data) == 0
    full = TrainingSet(data.features, data.labelled, truth[:32].repeat_interleave(8, 1).repeat_interleave(8, 2).byte())
    model = model_for(text, "prozs", [True, True, True])
    fit(model, full, PRESETS["prozs"].recipe, seed=0, steps=5)
    assert match_prior(model, full) == 0


def card() -> ModelCard:
    classes = tuple(TissueClass(name=f"c{i}", seen=i < 2) for i in range(CLASSES))
    taxonomy = Taxonomy(classes=classes)
    return ModelCard(preset="prozs", taxonomy=taxonomy, backbone=INFO, backbone_hash=INFO.hash, tile_size=32, rounds=4)


def test_a_model_file_round_trips_exactly(tmp_path: Path):
    data, _, text = make_set()
    model = model_for(text, "prozs", [True, True, False])
    fit(model, data, PRESETS["prozs"].recipe, seed=0, steps=10)
    save_model(tmp_path / "m.safetensors", model, card())
    again, found = load_model(tmp_path / "m.safetensors")
    assert found == card()
    assert torch.equal(model(data.features[[0, 3]]), again(data.features[[0, 3]]))


def test_bad_model_files_are_named(tmp_path: Path):
    from safetensors.torch import save_file

    path = tmp_path / "m.safetensors"
    with pytest.raises(InputError, match=r"m\.safetensors"):
        load_model(path)
    path.write_bytes(b"no model at all")
    with pytest.raises(InputError, match="cannot be read as a model"):
        load_model(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="not one of our models"):
        load_model(path)
    save_file({"x": torch.zeros(1)}, path, metadata={"aczerots": '{"format": 99}'})
    with pytest.raises(InputError, match="format 99"):
        load_model(path)
    save_file({"x": torch.zeros(1)}, path, metadata={"aczerots": card().model_dump_json()})
    with pytest.raises(InputError, match="damaged model"):
        load_model(path)


def test_a_truncated_model_file_is_refused(tmp_path: Path):
    _, _, text = make_set()
    path = tmp_path / "m.safetensors"
    save_model(path, model_for(text, "prozs", [True, True, False]), card())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read as a model"):
        load_model(path)
