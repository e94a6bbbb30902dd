"""Decides by cross-validation on the annotated tiles whether visual prototypes count.

Visual prototypes say more than words where annotated and other tiles look alike, and less where each slide looks
different. Two-fold cross-validation tells which: the mean IoU of the annotated classes with visual prototypes
against that with words alone. It needs no label of an unseen class (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from aczerots.prozs.fit import TrainingRecipe, fit
from aczerots.prozs.losses import soft_targets
from aczerots.prozs.model import PrototypeScorer, ProZS
from aczerots.prozs.training_set import TrainingSet

STEPS = 100
"""Of a fit that only compares; half of those of the fit that counts."""

_BATCH = 16


def divide(groups: Sequence[Sequence[int]], number: int) -> list[list[int]]:
    """Divide groups into ``number`` parts of about the same size: the largest group first, each to the smallest part.

    Returns:
        Members of each part, ascending.
    """
    parts: list[list[int]] = [[] for _ in range(number)]
    for group in sorted(groups, key=len, reverse=True):
        min(parts, key=len).extend(group)
    return [sorted(part) for part in parts]


def cross_validated_weight(build: Callable[[], ProZS], data: TrainingSet, recipe: TrainingRecipe) -> float:
    """1 if visual prototypes raise the mean IoU of the annotated classes on held-out tiles, else 0.

    Args:
        build: Gives the untrained model, the same each time.
        data: The annotations; the two folds have no group in common.
        recipe: How to fit; it takes fewer steps here.

    Returns:
        0 or 1; 1 where the tiles cannot be divided so that both folds hold every annotated class.
    """
    halves = _halves(data, len(build().text))
    if halves is None:
        return 1.0
    found = {weight: _held_out_iou(build, data, halves, recipe, weight) for weight in (1.0, 0.0)}
    return max(found, key=lambda weight: found[weight])


def _halves(data: TrainingSet, classes: int) -> tuple[list[int], list[int]] | None:
    """Indices of annotated tiles in two folds of like size that both hold every annotated class, or None."""
    members: dict[str, list[int]] = {}
    for i, group in enumerate(data.groups):
        members.setdefault(group, []).append(i)
    one, other = divide([members[name] for name in sorted(members)], 2)

    def annotated(tiles: Sequence[int]) -> torch.Tensor:
        return torch.bincount(data.labels[list(tiles)].flatten().long(), minlength=256)[:classes] > 0

    if not one or not other or not torch.equal(annotated(one), annotated(other)):
        return None
    return one, other


def _held_out_iou(
    build: Callable[[], ProZS],
    data: TrainingSet,
    halves: tuple[list[int], list[int]],
    recipe: TrainingRecipe,
    weight: float,
) -> float:
    """Mean IoU of the annotated classes, each half predicted by a model of the other one."""
    found = []
    for known, held in (halves, halves[::-1]):
        model = build()
        if not isinstance(model.scorer, PrototypeScorer):
            raise TypeError("weights are for models with a PrototypeScorer")
        bank = model.scorer.bank
        bank.weight.fill_(weight)
        part = TrainingSet(data.features, [data.labelled[i] for i in known], data.labels[known], data.unlabelled)
        # Both weights see the same batches; half the data would not tell seeds apart anyway.
        fit(model, part, recipe, seed=0, steps=STEPS)
        found.append(_confusion(model, bank.labelled, data, held))
    matrix = found[0] + found[1]
    hit, said, there = matrix.diag(), matrix.sum(dim=0), matrix.sum(dim=1)
    known_classes = there > 0
    return float((hit / (said + there - hit).clamp_min(1e-9))[known_classes].mean())


@torch.no_grad()
def _confusion(model: ProZS, labelled: torch.Tensor, data: TrainingSet, tiles: Sequence[int]) -> torch.Tensor:
    """Label mass of patches by (class, class that wins among the ``labelled`` ones, bool [C]), float [C, C]."""
    classes = len(model.text)
    matrix = torch.zeros(classes, classes)
    for start in range(0, len(tiles), _BATCH):
        index = list(tiles[start : start + _BATCH])
        features = data.features[[data.labelled[i] for i in index]].to(model.text.device)
        scores = model(features).masked_fill(~labelled[:, None, None], -torch.inf).cpu()
        mass = soft_targets(data.labels[index], classes, (scores.shape[2], scores.shape[3]))
        winner = torch.nn.functional.one_hot(scores.argmax(dim=1), classes).float()
        matrix += torch.einsum("bchw,bhwk->ck", mass, winner)
    return matrix
