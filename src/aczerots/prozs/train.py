"""From annotations to a model: build, weigh the prototypes, fit, calibrate. Everybody who needs a ProZS calls this."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from aczerots.backbones.base import BackboneInfo
from aczerots.prozs.fit import fit
from aczerots.prozs.model import PrototypeScorer, ProZS
from aczerots.prozs.presets import Preset, build_model
from aczerots.prozs.prototype_weight import cross_validated_weight
from aczerots.prozs.training_set import TrainingSet


@dataclass(frozen=True)
class JointSpace:
    """What a model is built on.

    Attributes:
        backbone: Facts of the backbone.
        text: Text prototypes t_c, float32 [C, d], unit length.
        seen: Bool [C]: the classes that an expert draws.
        device: Where the model computes.
    """

    backbone: BackboneInfo
    text: torch.Tensor
    seen: torch.Tensor
    device: str = "cpu"


def untrained(preset: Preset, space: JointSpace, seed: int) -> ProZS:
    """The model of a preset before any training: its answers are the zero-shot answers. The paper's are random."""
    return build_model(preset, space.backbone, space.text, space.seen, seed).to(space.device)


def train(preset: Preset, space: JointSpace, data: TrainingSet, seed: int) -> ProZS:
    """A model trained from scratch; equal arguments give equal weights.

    Args:
        preset: Which architecture, and how it is trained.
        space: What it is built on.
        data: Dense features and annotations.
        seed: Initial weights, order of the tiles, dropout, clustering.

    Raises:
        InputError: No annotated pixel of a seen class.
    """
    model = untrained(preset, space, seed)
    recipe = preset.recipe
    if recipe is None:
        return model
    scorer = model.scorer
    if preset.cross_validate_prototypes and isinstance(scorer, PrototypeScorer):
        weight = cross_validated_weight(lambda: untrained(preset, space, seed), data, recipe)
        scorer.bank.weight.fill_(weight)
    fit(model, data, recipe, seed)
    if recipe.calibrate is not None and isinstance(scorer, PrototypeScorer):
        scorer.calibration_bias.fill_(recipe.calibrate(model, data))
    return model
