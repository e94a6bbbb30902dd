"""Chooses the calibration bias, which is taken from the scores of labelled classes, without labels of any other.

Training on annotated pixels makes a model favour the annotated classes. The zero-shot answer has no such bias, so the
bias is set to give the other classes the fraction of the pool that zero-shot gives them (prior matching; Saerens,
Latinne and Decaestecker, 2002). All of the pool counts, annotated patches too. docs/results.md compares this with
leaving seen classes out one at a time, which needs a fit per class and fails with two of them.
"""

from __future__ import annotations

import torch

from aczerots.prozs.model import PrototypeScorer, ProZS
from aczerots.prozs.training_set import TrainingSet

LIMIT = 10.0
NEVER = -1e4
"""The bias at which a class without labels never wins a patch."""

_BATCH = 16
_PATCHES = 400_000


@torch.no_grad()
def match_prior(model: ProZS, data: TrainingSet) -> float:
    """The bias at which classes without labels win as many patches of the pool as in the zero-shot answer.

    Args:
        model: Fitted, with a :class:`PrototypeScorer`; its present bias does not matter.
        data: What it was fitted to.

    Returns:
        The bias in logits, within +-LIMIT; 0 where all classes have labels, or none has.
    """
    scorer = model.scorer
    if not isinstance(scorer, PrototypeScorer):
        return 0.0
    labelled = scorer.bank.labelled.cpu()
    if bool(labelled.all()) or not bool(labelled.any()):
        return 0.0
    scorer.calibration_bias.zero_()
    margins, wins = [], []
    tiles = [*data.labelled, *data.unlabelled]
    for start in range(0, len(tiles), _BATCH):
        features = data.features[tiles[start : start + _BATCH]].to(model.text.device)
        margins.append(_margin(model(features).cpu(), labelled).flatten())
        wins.append((_margin(model.zero_shot(features).cpu(), labelled) > 0).flatten())
    margin, fraction = torch.cat(margins), torch.cat(wins).float().mean()
    step = -(-len(margin) // _PATCHES)
    return float(-torch.quantile(margin[::step], 1 - fraction).clamp(-LIMIT, LIMIT))


def never_unseen(model: ProZS, data: TrainingSet) -> float:
    """The bias of a model that knows labelled classes only."""
    del model, data
    return NEVER


def _margin(scores: torch.Tensor, labelled: torch.Tensor) -> torch.Tensor:
    """Best score without labels minus best score with them [b, H, W], of scores [b, C, H, W]."""
    return scores[:, ~labelled].amax(dim=1) - scores[:, labelled].amax(dim=1)
