"""Chooses gamma, the seen-class bias, by leaving seen classes out of the labelled data, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from aczerots.prozs.fit import Recipe, TrainingSet, fit
from aczerots.prozs.losses import soft_targets
from aczerots.prozs.model import ProZS
from aczerots.taxonomy import IGNORE

GAMMAS = torch.linspace(-2.0, 6.0, 33)
_CELLS = 256


def harmonic(seen: torch.Tensor, unseen: torch.Tensor) -> torch.Tensor:
    """2 S U / (S + U), 0 where both are 0."""
    return 2 * seen * unseen / (seen + unseen).clamp_min(1e-12)


def _iou(predicted: torch.Tensor, truth: torch.Tensor, classes: int) -> torch.Tensor:
    """IoU per class [C] from label ids [n]; NaN where a class is in neither."""
    both = torch.bincount(truth * classes + predicted, minlength=classes * classes).view(classes, classes).double()
    union = both.sum(0) + both.sum(1) - both.diagonal()
    return torch.where(union > 0, both.diagonal() / union.clamp_min(1), torch.nan)


def _curve(scores: torch.Tensor, truth: torch.Tensor, seen: torch.Tensor, left_out: int) -> torch.Tensor:
    """HIoU [len(GAMMAS)] of scores [n, C] when ``seen`` [C] classes are held back by each gamma."""
    out = torch.zeros(len(GAMMAS))
    for i, gamma in enumerate(GAMMAS):
        iou = _iou((scores - gamma * seen).argmax(dim=1), truth, scores.shape[1])
        known = iou[seen & ~torch.isnan(iou)]
        out[i] = harmonic(known.mean(), torch.nan_to_num(iou[left_out]))
    return out


@torch.no_grad()
def _cells(model: ProZS, data: TrainingSet, index: list[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores [n, C] and majority labels [n] of a sample of labelled cells of some annotated tiles."""
    generator = torch.Generator().manual_seed(seed)
    scores, truth = [], []
    for i in index:
        logits = model(data.grids[[data.labelled[i]]].to(model.text.device)).cpu()
        goal = soft_targets(data.labels[i : i + 1], logits.shape[1], (logits.shape[2], logits.shape[3]))
        flat, mass = logits[0].flatten(1).T, goal[0].flatten(1).T
        known = (mass.sum(dim=1) > 0.5).nonzero()[:, 0]
        keep = known[torch.randperm(len(known), generator=generator)[:_CELLS]]
        scores.append(flat[keep])
        truth.append(mass[keep].argmax(dim=1))
    return torch.cat(scores), torch.cat(truth)


def choose_gamma(
    build: Callable[[torch.Tensor], ProZS], data: TrainingSet, recipe: Recipe, seen: torch.Tensor, seed: int
) -> float:
    """Gamma that maximises the mean hIoU when each labelled seen class in turn is treated as unseen.

    Half of the annotated tiles train, the other half judges. Truly unseen classes take no part: they have no
    labels here, and must not be looked at.

    Args:
        build: Builds a fresh model for a given bool [C] of seen classes.
        data: Grids and labels.
        recipe: How to fit (a third of its steps is run).
        seen: Bool [C].
        seed: Split of the tiles and fits.

    Returns:
        gamma in logits; 0 where fewer than two seen classes or four tiles are labelled.
    """
    count = len(data.labelled)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    halves = sorted(order[: count // 2]), sorted(order[count // 2 :])
    present = [torch.unique(data.labels[h]) for h in halves]
    both = [c for c in torch.where(seen)[0].tolist() if all(bool((p == c).any()) for p in present)]
    if count < 4 or len(both) < 2:
        return 0.0
    total = torch.zeros(len(GAMMAS))
    for c in both:
        total += _leave_out(build, data, recipe, seen, halves, c, seed)
    # Ties and plateaus: the gamma nearest to the middle of what is within 1 % of the best.
    good = torch.where(total >= 0.99 * total.max())[0]
    return float(GAMMAS[good[len(good) // 2]])


def _leave_out(
    build: Callable[[torch.Tensor], ProZS],
    data: TrainingSet,
    recipe: Recipe,
    seen: torch.Tensor,
    halves: tuple[list[int], list[int]],
    left_out: int,
    seed: int,
) -> torch.Tensor:
    """HIoU over gamma with one seen class left out of the first half, judged on the second."""
    train, judge = halves
    labels = data.labels[train].clone()
    labels[labels == left_out] = IGNORE
    fewer = seen.clone()
    fewer[left_out] = False
    part = replace(
        data,
        labelled=[data.labelled[i] for i in train],
        labels=labels,
        unlabelled=[*data.unlabelled, *(data.labelled[i] for i in judge)],
    )
    model = build(fewer)
    fit(model, part, recipe, seed, share=1 / 3)
    scores, truth = _cells(model, data, judge, seed)
    real = torch.where(seen)[0]
    position = torch.full((len(seen),), -1).index_put((real,), torch.arange(len(real)))
    return _curve(scores[:, real], position[truth], fewer[real], int(position[left_out]))
