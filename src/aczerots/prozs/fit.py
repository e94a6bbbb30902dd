"""Optimises a ProZS on dense features and label maps. The backbone is not needed here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from aczerots.backbones.base import DenseFeatures
from aczerots.errors import InputError
from aczerots.prozs import losses
from aczerots.prozs.decoder import ResidualDecoder
from aczerots.prozs.model import PrototypeScorer, ProZS
from aczerots.prozs.objectives import Objective
from aczerots.prozs.training_set import Batch, TrainingSet

_PATCHES_PER_TILE = 256


@dataclass(frozen=True)
class TrainingRecipe:
    """How to optimise.

    Attributes:
        loss: (model, batch) -> scalar.
        optimiser: ``adamw`` (cosine decay to zero) or ``sgd`` (constant rate, as the paper).
        rate: Learning rate.
        weight_decay: Weight decay.
        batch: Annotated tiles per step.
        context: Not annotated tiles per step.
        steps: Number of steps, or None to take ``epochs``.
        epochs: Passes over the annotated tiles where ``steps`` is None.
        calibrate: (fitted model, its training set) -> calibration bias in logits (calibrate.py); None leaves it at 0.
        thin: A step looks at every ``thin``-th row and column of the grid, from a random start: neighbouring patches
            say much the same, and a step costs ``thin`` squared less. 1 for decoders that look at neighbours.
    """

    loss: Objective
    optimiser: Literal["adamw", "sgd"]
    rate: float
    weight_decay: float
    batch: int
    context: int = 0
    steps: int | None = None
    epochs: int = 100
    calibrate: Callable[[ProZS, TrainingSet], float] | None = None
    thin: int = 1


class _Targets:
    """Label mass per tile at the decoder's resolution; pooled once, or made on the fly at full resolution."""

    def __init__(self, labels: torch.Tensor, classes: int, size: tuple[int, int]) -> None:
        self.labels, self.classes, self.size = labels, classes, size
        full = labels.shape[1:] == size
        pooled = None if full else torch.cat([self._make(part) for part in torch.split(labels, 32)]).half()
        self.pooled = pooled

    def _make(self, labels: torch.Tensor) -> torch.Tensor:
        known = losses.soft_targets(labels, self.classes, self.size)
        return torch.cat([known, losses.complementary_mass(labels, self.size)], dim=1)

    def __getitem__(self, index: Sequence[int]) -> torch.Tensor:
        """Label mass of these annotated tiles and the fraction without a seen class [b, C + 1, H, W]."""
        return self._make(self.labels[index]) if self.pooled is None else self.pooled[index].float()

    def mass(self) -> torch.Tensor:
        """Labelled pixels per class, float [C]."""
        return torch.bincount(self.labels.flatten().long(), minlength=256)[: self.classes].float()


def _draw(count: int, batch: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Endless batches without replacement within each pass."""
    queue: list[int] = []
    while True:
        while len(queue) < min(batch, count):
            queue += torch.randperm(count, generator=generator).tolist()
        yield queue[:batch]
        queue = queue[batch:]


def _optimiser(model: ProZS, recipe: TrainingRecipe, steps: int) -> tuple[torch.optim.Optimizer, Callable[[], None]]:
    """The optimiser and what to call after each step."""
    if recipe.optimiser == "sgd":
        # Momentum is not stated in the paper; 0.9 is the field's habit with these rates.
        sgd = torch.optim.SGD(model.parameters(), recipe.rate, momentum=0.9, weight_decay=recipe.weight_decay)
        return sgd, lambda: None
    adamw = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=recipe.weight_decay)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(adamw, steps)
    return adamw, plan.step


@torch.no_grad()
def _refit_prototypes(model: ProZS, data: TrainingSet, targets: _Targets, generator: torch.Generator) -> None:
    """Re-estimate the visual prototypes from a sample of labelled patches."""
    scorer = model.scorer
    if not isinstance(scorer, PrototypeScorer):
        return
    model.eval()
    points, mass, scale = [], [], 1.0
    for start in range(0, len(data.labelled), 16):
        index = list(range(start, min(start + 16, len(data.labelled))))
        phi = model.features(data.features[[data.labelled[i] for i in index]].to(model.text.device))
        flat = phi.movedim(1, -1).flatten(1, 2).cpu()
        goal = targets[index][:, :-1].movedim(1, -1).flatten(1, 2)
        scale = flat.shape[1] / min(_PATCHES_PER_TILE, flat.shape[1])
        for f, g in zip(flat, goal, strict=True):
            chosen = torch.randperm(len(f), generator=generator)[:_PATCHES_PER_TILE]
            points.append(f[chosen])
            mass.append(g[chosen])
    scorer.bank.refit(torch.cat(points), torch.cat(mass), generator)
    scorer.bank.counts.mul_(scale)


def fit(model: ProZS, data: TrainingSet, recipe: TrainingRecipe, seed: int, steps: int | None = None) -> None:
    """Fit ``model`` in place; the same arguments give the same weights.

    Args:
        model: Freshly built, on the device that is to compute.
        data: DenseFeatures and labels.
        recipe: Loss and optimiser.
        seed: Order of tiles, dropout and clustering.
        steps: Instead of the recipe's.

    Raises:
        InputError: No annotated pixel of a seen class.
    """
    generator = torch.Generator().manual_seed(seed)
    device = model.text.device
    probe = model.features(data.features[list(data.labelled[:1])].to(device))
    targets = _Targets(data.labels, len(model.text), (probe.shape[2], probe.shape[3]))
    mass = targets.mass()
    if float(mass[model.seen.cpu()].sum()) == 0:
        raise InputError(
            "no pixel of a seen class is annotated",
            where=f"{len(data.labelled)} annotated tiles",
            fix="Annotate more tiles, or start with a larger --initial or another --seed",
        )
    weights = losses.class_weights(mass).to(device)
    if isinstance(model.decoder, ResidualDecoder):
        model.decoder.standardise(_sample_layers(data, generator))
    _refit_prototypes(model, data, targets, generator)
    per_pass = -(-len(data.labelled) // recipe.batch)
    steps = steps or recipe.steps or recipe.epochs * per_pass
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        _optimise(model, data, targets, weights, recipe, steps, generator)
    _refit_prototypes(model, data, targets, generator)
    model.eval()


def _sample_layers(data: TrainingSet, generator: torch.Generator) -> torch.Tensor:
    """Layer tokens of up to 64 pool tiles, for the decoder's input scaling."""
    pool = [*data.labelled, *data.unlabelled]
    chosen = torch.randperm(len(pool), generator=generator)[:64].tolist()
    return data.features[[pool[i] for i in chosen]].layers


def _optimise(
    model: ProZS,
    data: TrainingSet,
    targets: _Targets,
    weights: torch.Tensor,
    recipe: TrainingRecipe,
    steps: int,
    generator: torch.Generator,
) -> None:
    """The training loop."""
    optimiser, after = _optimiser(model, recipe, steps)
    labelled = _draw(len(data.labelled), recipe.batch, generator)
    context = _draw(len(data.unlabelled), recipe.context, generator) if data.unlabelled and recipe.context else None
    model.train()
    for _ in range(steps):
        index = next(labelled)
        extra = [data.unlabelled[i] for i in next(context)] if context else []
        features = data.features[[data.labelled[i] for i in index] + extra].to(weights.device)
        goal = targets[index].to(weights.device)
        batch = _thinned(Batch(features, goal[:, :-1], goal[:, -1:], weights), recipe.thin, generator)
        optimiser.zero_grad(set_to_none=True)
        recipe.loss(model, batch).backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
        optimiser.step()
        after()


def _thinned(batch: Batch, thin: int, generator: torch.Generator) -> Batch:
    """Every ``thin``-th row and column of a batch whose targets lie on its grid, from a random start."""
    if thin == 1:
        return batch
    every = [min(thin, side) for side in batch.targets.shape[2:]]
    start = [int(torch.randint(step, (), generator=generator)) for step in every]
    rows, columns = (slice(a, None, step) for a, step in zip(start, every, strict=True))
    features = DenseFeatures(batch.features.aligned[..., rows, columns], batch.features.layers[..., rows, columns])
    return Batch(features, batch.targets[..., rows, columns], batch.no_seen[..., rows, columns], batch.weights)
