"""Presets: plain functions that assemble a ProZS and its recipe from parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from aczerots.backbones.base import BackboneInfo
from aczerots.errors import SettingsError
from aczerots.prozs.calibrate import match_prior, never_unseen
from aczerots.prozs.decoder import PaperDecoder, PaperProjection, ResidualDecoder, ResidualProjection
from aczerots.prozs.fit import TrainingRecipe
from aczerots.prozs.model import DotScorer, PrototypeScorer, ProZS
from aczerots.prozs.objectives import paper_loss, prozs_loss, seen_loss
from aczerots.prozs.prototypes import PrototypeBank


@dataclass(frozen=True)
class Preset:
    """A named assembly.

    Attributes:
        name: What the user asks for.
        build: (backbone facts, text prototypes [C, d], seen [C]) -> untrained model. Draws initial weights
            from torch's global generator.
        recipe: How to fit it; None for a model without training.
        cross_validate_prototypes: Whether cross-validation on the annotated tiles decides if visual prototypes count.
    """

    name: str
    build: Callable[[BackboneInfo, torch.Tensor, torch.Tensor], ProZS]
    recipe: TrainingRecipe | None
    cross_validate_prototypes: bool = False


def _residual(info: BackboneInfo, text: torch.Tensor, seen: torch.Tensor) -> ProZS:
    """Decoder and projection that start as identities: untrained, it is the zero-shot segmenter."""
    scorer = PrototypeScorer(PrototypeBank(len(text), info.dim), info.logit_scale)
    decoder = ResidualDecoder(info.dim, info.layer_dim)
    return ProZS(decoder, ResidualProjection(info.dim), scorer, text, seen)


def _paper(info: BackboneInfo, text: torch.Tensor, seen: torch.Tensor) -> ProZS:
    """The paper's architecture (Sec. 3.3)."""
    return ProZS(PaperDecoder(info.layer_dim, info.stride), PaperProjection(info.dim), DotScorer(), text, seen)


_PROZS = TrainingRecipe(
    loss=prozs_loss,
    optimiser="adamw",
    rate=1e-3,
    weight_decay=1e-2,
    batch=8,
    context=4,
    steps=200,
    calibrate=match_prior,
    thin=2,
)
_SEEN_ONLY = replace(_PROZS, loss=seen_loss, context=0, calibrate=never_unseen)
_PAPER = TrainingRecipe(loss=paper_loss, optimiser="sgd", rate=7e-3, weight_decay=5e-4, batch=64, epochs=100)

PRESETS = {
    "prozs": Preset("prozs", _residual, _PROZS, cross_validate_prototypes=True),
    "paper": Preset("paper", _paper, _PAPER),
    "zeroshot": Preset("zeroshot", _residual, None),
    "seen-only": Preset("seen-only", _residual, _SEEN_ONLY),
}


def locate_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        SettingsError: Unknown name.
    """
    if name not in PRESETS:
        raise SettingsError(f"unknown preset '{name}'", fix=f"Choose one of: {', '.join(PRESETS)}")
    return PRESETS[name]


def build_model(preset: Preset, info: BackboneInfo, text: torch.Tensor, seen: torch.Tensor, seed: int) -> ProZS:
    """An untrained model whose initial weights depend only on the arguments."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = preset.build(info, text, seen)
    return model.eval()
