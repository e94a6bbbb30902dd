"""Open vocabulary: a fitted model learns of a further class by words alone, without fitting."""

from __future__ import annotations

import torch

from aczerots.prozs.checkpoint import ModelCard
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import build_model, locate_preset
from aczerots.taxonomy import Taxonomy


def with_classes(model: ProZS, card: ModelCard, taxonomy: Taxonomy, text: torch.Tensor) -> tuple[ProZS, ModelCard]:
    """The model with further unseen classes at the end.

    Their vectors are the projected text prototypes, moved like those of all undrawn classes by the text-to-visual
    displacement of the drawn ones (:meth:`~aczerots.prozs.model.PrototypeScorer.displaced`). Scores of the classes
    that were there do not change.

    Args:
        model: A fitted model; stays as it is.
        card: Its card.
        taxonomy: The classes of the card and the further ones.
        text: Text prototypes of the further classes, float32 [n, d], unit length.

    Returns:
        (model on the same device, its card).
    """
    words = torch.cat([model.text.cpu(), text.cpu()])
    seen = torch.from_numpy(taxonomy.seen)
    grown = build_model(locate_preset(card.preset), card.backbone, words, seen, seed=0)
    state = grown.state_dict()
    before = len(model.text)
    for name, value in model.state_dict().items():
        if state[name].shape == value.shape:
            state[name] = value
        elif name not in {"text", "seen"}:
            # Per-class state of the prototypes: the further classes have no labels.
            state[name] = torch.zeros_like(state[name])
            state[name][:before] = value
    grown.load_state_dict(state)
    return grown.to(model.text.device).eval(), card.model_copy(update={"taxonomy": taxonomy})
