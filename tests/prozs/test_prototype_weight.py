"""Whether visual prototypes count is told by tiles that were held out."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tests.prozs.test_fit import INFO, ListGrids, make_set, model_for

from aczerots.prozs import prototype_weight
from aczerots.prozs.checkpoint import ModelCard, load_model, save_model
from aczerots.prozs.fit import fit
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import PRESETS
from aczerots.prozs.prototype_weight import cross_validated_weight
from aczerots.prozs.training_set import TrainingSet
from aczerots.taxonomy import Taxonomy, TissueClass

RECIPE = PRESETS["prozs"].recipe
SEEN = [True, True, False]


def strange_slides(words: float, own: float, common: float) -> tuple[TrainingSet, torch.Tensor]:
    """Twelve tiles of two classes on six slides.

    Args:
        words: How much of a class's words its features show.
        own: How much of a look that the class has on that slide only.
        common: How much of a look that the class has on all slides.
    """
    g = torch.Generator().manual_seed(1)
    truth = torch.randint(0, 2, (12, 4, 4), generator=g)
    text, look = (F.normalize(torch.randn(3, 8, generator=g), dim=1) for _ in range(2))
    looks = F.normalize(torch.randn(6, 2, 8, generator=g), dim=2)
    slide = torch.arange(12) // 2
    features = words * text[truth] + common * look[truth] + own * looks[slide[:, None, None], truth]
    aligned = features.movedim(-1, 1) + 0.1 * torch.randn(12, 8, 4, 4, generator=g)
    layers = torch.randn(12, 6, 4, 4, generator=g)
    labels = truth.repeat_interleave(8, 1).repeat_interleave(8, 2).to(torch.uint8)
    groups = [f"slide {int(i)}" for i in slide]
    data = TrainingSet(ListGrids(F.normalize(aligned, dim=1), layers), list(range(12)), labels, (), groups)
    return data, text


def eager(text: torch.Tensor) -> ProZS:
    """An untrained model that trusts prototypes of few cells."""
    model = model_for(text, "prozs", SEEN)
    model.scorer.bank.even = 1.0
    return model


@pytest.mark.slow
def test_prototypes_that_hold_on_other_slides_count():
    data, text = strange_slides(words=0.3, own=1.0, common=1.0)
    assert cross_validated_weight(lambda: eager(text), data, RECIPE) == 1


@pytest.mark.slow
def test_prototypes_that_mislead_on_other_slides_do_not():
    data, text = strange_slides(words=0.3, own=1.0, common=0.0)
    assert cross_validated_weight(lambda: eager(text), data, RECIPE) == 0


def test_parts_share_no_group_and_both_have_all_classes():
    labels = torch.tensor([[[0]], [[1]], [[0]], [[1]], [[0]]], dtype=torch.uint8)
    data = TrainingSet(ListGrids(torch.zeros(5, 8, 1, 1), torch.zeros(5, 6, 1, 1)), list(range(5)), labels)
    assert prototype_weight._halves(replace(data, groups=["x", "x", "y", "y", "y"]), 3) == ([2, 3, 4], [0, 1])
    assert prototype_weight._halves(replace(data, groups=["x"] * 5), 3) is None, "one slide"
    assert prototype_weight._halves(replace(data, groups=["x", "y", "x", "y", "x"]), 3) is None, (
        "a class on one slide only"
    )
    # Then nothing is fitted, and prototypes count as they always did.
    one = replace(data, groups=["x"] * 5)
    assert cross_validated_weight(lambda: model_for(torch.eye(3, 8), "prozs", SEEN), one, RECIPE) == 1


def test_held_out_iou_by_hand(monkeypatch: pytest.MonkeyPatch):
    """Four tiles of one cell: features are the words of classes 0, 0, 1, 1, labels say 0, 1, 1, 1."""
    text = torch.eye(3, 8)
    aligned = text[torch.tensor([0, 0, 1, 1])][:, :, None, None]
    labels = torch.tensor([0, 1, 1, 1], dtype=torch.uint8)[:, None, None].expand(4, 8, 8).contiguous()
    data = TrainingSet(ListGrids(aligned, torch.zeros(4, 6, 1, 1)), list(range(4)), labels)

    def drawn_only(model: ProZS, *_: object, **__: object) -> None:
        model.scorer.bank.counts.copy_(torch.tensor([1.0, 1.0, 0.0]))

    monkeypatch.setattr(prototype_weight, "fit", drawn_only)
    found = prototype_weight._held_out_iou(lambda: model_for(text, "prozs", SEEN), data, ([0, 2], [1, 3]), RECIPE, 0.0)
    # Class 0: one right, one too many; class 1: two right, one missed.
    assert found == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_the_weight_travels_with_the_model(tmp_path: Path):
    data, _, text = make_set()
    model = model_for(text, "prozs", SEEN)
    model.scorer.bank.weight.fill_(0.0)
    fit(model, data, RECIPE, seed=0, steps=5)
    classes = tuple(TissueClass(name=n, color=(i, i, i), seen=SEEN[i]) for i, n in enumerate("abc"))
    taxonomy = Taxonomy(classes=classes)
    card = ModelCard(preset="prozs", taxonomy=taxonomy, backbone=INFO, backbone_hash=INFO.hash, tile_size=32)
    path = tmp_path / "model.safetensors"
    save_model(path, model, card)
    loaded, _ = load_model(path)
    grids = data.features[[0]]
    assert torch.equal(loaded(grids), model(grids))
    with torch.no_grad():
        model.scorer.bank.weight.fill_(1.0)
        counted = model(grids)
    assert not torch.equal(loaded(grids), counted)
    # A file of before has no such number, and its prototypes count.
    tensors = load_file(path)
    del tensors["scorer.bank.weight"]
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
    save_file(tensors, path, facts)
    assert torch.equal(load_model(path)[0](grids), counted)
