"""Chooses gamma, the bias against drawn classes, without any label of an undrawn class.

Training on drawn pixels only makes a model say "drawn" too often. The zero-shot answer has no such bias, so gamma
is set to give the undrawn classes the share of the unannotated pool that zero-shot gives them (matching of class
priors, as in Saerens, Latinne and Decaestecker, 2002). The design's way - leaving drawn classes out one at a
time - needs a fit per class, and fails where only two classes are drawn: docs/results.md has both.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from aczerots.prozs.fit import TrainingSet
from aczerots.prozs.losses import soft_targets
from aczerots.prozs.model import PrototypeScorer, ProZS

LIMIT = 10.0
NEVER = -1e4
"""The gamma at which no undrawn class wins a cell."""

_BATCH = 16
_CELLS = 400_000


@torch.no_grad()
def match_share(model: ProZS, data: TrainingSet) -> float:
    """The gamma at which undrawn classes win as many unannotated pool cells as they do in the zero-shot answer.

    Args:
        model: Fitted, with a :class:`PrototypeScorer`; its present gamma does not matter.
        data: What it was fitted to.

    Returns:
        gamma in logits, within +-LIMIT; 0 where all classes are drawn, or none.
    """
    scorer = model.scorer
    if not isinstance(scorer, PrototypeScorer) or bool(scorer.bank.drawn.all()) or not bool(scorer.bank.drawn.any()):
        return 0.0
    scorer.gamma.zero_()
    drawn = scorer.bank.drawn.cpu()
    margins, wins = [], []
    for tiles, labels in _parts(data):
        grids = data.grids[tiles].to(model.text.device)
        zero_shot = torch.einsum("bdhw,cd->bchw", grids.aligned, model.text).cpu()
        size = (zero_shot.shape[2], zero_shot.shape[3])
        bare = torch.ones(len(tiles), *size, dtype=torch.bool)
        if labels is not None:
            bare = soft_targets(labels, len(drawn), size).sum(dim=1) < 0.5
        margins.append(_margin(model(grids).cpu(), drawn)[bare])
        wins.append(_margin(zero_shot, drawn)[bare] > 0)
    margin, share = torch.cat(margins), torch.cat(wins).float().mean()
    if len(margin) == 0:
        return 0.0
    step = -(-len(margin) // _CELLS)
    return float(-torch.quantile(margin[::step], 1 - share).clamp(-LIMIT, LIMIT))


def never_undrawn(model: ProZS, data: TrainingSet) -> float:
    """The gamma of a model that knows drawn classes only."""
    del model, data
    return NEVER


def _parts(data: TrainingSet) -> Iterator[tuple[list[int], torch.Tensor | None]]:
    """Pool tiles in batches, with their labels where they are annotated."""
    for start in range(0, len(data.labelled), _BATCH):
        part = slice(start, start + _BATCH)
        yield list(data.labelled[part]), data.labels[part]
    for start in range(0, len(data.unlabelled), _BATCH):
        yield list(data.unlabelled[start : start + _BATCH]), None


def _margin(scores: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Best undrawn minus best drawn score [b, H, W] of scores [b, C, H, W]."""
    return scores[:, ~drawn].amax(dim=1) - scores[:, drawn].amax(dim=1)
