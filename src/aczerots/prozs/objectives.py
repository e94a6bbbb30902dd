"""Training objectives: what one step minimises. The single terms are in losses.py."""

from __future__ import annotations

from collections.abc import Callable

import torch

from aczerots.prozs import losses
from aczerots.prozs.model import PrototypeScorer, ProZS
from aczerots.prozs.training_set import Batch

_DICE, _CONTRAST = 1.0, 0.1
"""Weights of the terms beside cross-entropy, chosen on the phantom and on splits inside the luad pool."""

Objective = Callable[[ProZS, Batch], torch.Tensor]


def prozs_loss(
    model: ProZS, batch: Batch, *, dice: float = _DICE, contrast: float = _CONTRAST, distillation: float = 1.0
) -> torch.Tensor:
    """Cross-entropy + Dice + pixel-to-centroid contrast where a tile is annotated, zero-shot distillation elsewhere."""
    phi, scorer = _updated_features(model, batch)
    n = len(batch.targets)
    logits = model.scores(phi)
    loss = _supervised_loss(logits[:n], phi[:n], batch.targets, batch.weights, dice, contrast)
    reference = (scorer.kappa * model.zero_shot(batch.features)).softmax(dim=1)
    free = torch.ones_like(logits[:, :1])
    free[:n] = 1 - batch.targets.sum(dim=1, keepdim=True) - batch.no_seen
    loss = loss + losses.complementary_label(logits[:n], reference[:n], batch.no_seen, model.seen)
    return loss + distillation * losses.zero_shot_distillation(logits, reference, free)


def seen_loss(model: ProZS, batch: Batch) -> torch.Tensor:
    """The part of :func:`prozs_loss` on annotated pixels, over the seen classes only: plain supervised learning."""
    phi, _ = _updated_features(model, batch)
    seen = model.seen
    return _supervised_loss(model.scores(phi)[:, seen], phi, batch.targets[:, seen], batch.weights[seen])


def _updated_features(model: ProZS, batch: Batch) -> tuple[torch.Tensor, PrototypeScorer]:
    """Features [b, d_p, H, W] of all tiles, after an EMA update of the visual prototypes."""
    scorer = model.scorer
    if not isinstance(scorer, PrototypeScorer):
        raise TypeError("this loss is for models with a PrototypeScorer")
    phi = model.features(batch.features)
    if model.training:
        points = phi[: len(batch.targets)].detach().movedim(1, -1).flatten(0, 2)
        scorer.bank.ema_update(points, batch.targets.movedim(1, -1).flatten(0, 2))
    return phi, scorer


def _supervised_loss(
    logits: torch.Tensor,
    phi: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    dice: float = _DICE,
    contrast: float = _CONTRAST,
) -> torch.Tensor:
    """Cross-entropy, Dice and contrast of scores [b, C, H, W] and features [b, d_p, H, W] of annotated tiles."""
    loss = losses.cross_entropy(logits, targets, weights) + dice * losses.dice(logits, targets)
    return loss + contrast * losses.contrast(phi, targets, temperature=0.1)


def paper_loss(model: ProZS, batch: Batch) -> torch.Tensor:
    """Focal + 0.01 * contrast with temperature 0.5, over the seen classes only (paper, Eqs. 2-5, Sec. 4.2).

    Eq. 4 multiplies by alpha = 0.5 inside the exponent, which is a temperature of 1 / 0.5 here.
    """
    phi = model.features(batch.features)
    seen = model.seen
    logits, targets = model.scores(phi)[:, seen], batch.targets[:, seen]
    return losses.focal(logits, targets) + 0.01 * losses.contrast(phi, targets, temperature=2.0)
