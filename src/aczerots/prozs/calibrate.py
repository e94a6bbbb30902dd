"""Chooses gamma, the bias against drawn classes, without any label of an undrawn class.

Training on drawn pixels only makes a model say "drawn" too often. The zero-shot answer has no such bias, so gamma
is set to give the undrawn classes the share of the pool that zero-shot gives them (matching of class priors, as in
Saerens, Latinne and Decaestecker, 2002). The whole pool counts, drawn cells too: among the cells that are left when
much is drawn nearly all are of undrawn classes, and what zero-shot misses there it finds too much elsewhere. The
design's way - leaving drawn classes out one at a time - needs a fit per class, and fails where only two classes are
drawn: docs/results.md has all three.
"""

from __future__ import annotations

import torch

from aczerots.prozs.fit import TrainingSet
from aczerots.prozs.model import PrototypeScorer, ProZS

LIMIT = 10.0
NEVER = -1e4
"""The gamma at which no undrawn class wins a cell."""

_BATCH = 16
_CELLS = 400_000


@torch.no_grad()
def match_prior(model: ProZS, data: TrainingSet) -> float:
    """The gamma at which undrawn classes win as many cells of the pool as they do in the zero-shot answer.

    Args:
        model: Fitted, with a :class:`PrototypeScorer`; its present gamma does not matter.
        data: What it was fitted to.

    Returns:
        gamma in logits, within +-LIMIT; 0 where all classes are drawn, or none.
    """
    scorer = model.scorer
    if not isinstance(scorer, PrototypeScorer) or bool(scorer.bank.drawn.all()) or not bool(scorer.bank.drawn.any()):
        return 0.0
    scorer.calibration_bias.zero_()
    drawn = scorer.bank.drawn.cpu()
    margins, wins = [], []
    tiles = [*data.labelled, *data.unlabelled]
    for start in range(0, len(tiles), _BATCH):
        grids = data.grids[tiles[start : start + _BATCH]].to(model.text.device)
        margins.append(_margin(model(grids).cpu(), drawn).flatten())
        wins.append((_margin(model.zero_shot(grids).cpu(), drawn) > 0).flatten())
    margin, share = torch.cat(margins), torch.cat(wins).float().mean()
    step = -(-len(margin) // _CELLS)
    return float(-torch.quantile(margin[::step], 1 - share).clamp(-LIMIT, LIMIT))


def never_unseen(model: ProZS, data: TrainingSet) -> float:
    """The gamma of a model that knows drawn classes only."""
    del model, data
    return NEVER


def _margin(scores: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Best undrawn minus best drawn score [b, H, W] of scores [b, C, H, W]."""
    return scores[:, ~drawn].amax(dim=1) - scores[:, drawn].amax(dim=1)
