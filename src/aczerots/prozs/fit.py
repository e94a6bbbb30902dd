"""Fits a ProZS to cached grids and label maps. The backbone is not needed here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from aczerots.backbones.base import DenseFeatures
from aczerots.errors import InputError
from aczerots.prozs import losses
from aczerots.prozs.decoder import ResidualDecoder
from aczerots.prozs.model import PrototypeScorer, ProZS

_CELLS_PER_TILE = 256
_DICE, _CONTRAST = 1.0, 0.1
"""Weights of terms beside cross-entropy, chosen on the phantom and on splits inside the luad pool."""


class FeatureSource(Protocol):
    """DenseFeatures of a list of tiles by position."""

    def __len__(self) -> int:
        """Number of tiles."""

    def __getitem__(self, index: Sequence[int]) -> DenseFeatures:
        """DenseFeatures of the tiles at these positions, float32."""


@dataclass(frozen=True)
class TrainingSet:
    """What a fit may see.

    Attributes:
        grids: DenseFeatures of the pool.
        labelled: Positions of the annotated tiles.
        labels: Their label ids uint8 [n, size, size]; IGNORE where not annotated and outside the tile's box, NO_SEEN
            where the expert says that no seen class is.
        unlabelled: Positions of further pool tiles, for the keep-unseen term.
    """

    grids: FeatureSource
    labelled: Sequence[int]
    labels: torch.Tensor
    unlabelled: Sequence[int] = ()


@dataclass(frozen=True)
class Batch:
    """One step's tensors: the first ``len(targets)`` tiles are annotated, the rest are context.

    Attributes:
        grids: DenseFeatures of all tiles of the step.
        targets: Label mass of the annotated tiles [b, C, H, W].
        excluded: Share of their cells that is of no seen class [b, 1, H, W].
        weights: Class weights [C].
    """

    grids: DenseFeatures
    targets: torch.Tensor
    excluded: torch.Tensor
    weights: torch.Tensor


Loss = Callable[[ProZS, Batch], torch.Tensor]


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
        calibrate: (fitted model, what it was fitted to) -> bias against drawn classes in logits (calibrate.py); None
            leaves it at 0.
        thin: A step looks at every ``thin``-th row and column of the grid, from a random start: neighbouring cells
            say much the same, and a step costs ``thin`` squared less. 1 for decoders that look at neighbours.
    """

    loss: Loss
    optimiser: Literal["adamw", "sgd"]
    rate: float
    weight_decay: float
    batch: int
    context: int = 0
    steps: int | None = None
    epochs: int = 100
    calibrate: Callable[[ProZS, TrainingSet], float] | None = None
    thin: int = 1


def prozs_loss(
    model: ProZS, batch: Batch, *, dice: float = _DICE, contrast: float = _CONTRAST, distillation: float = 1.0
) -> torch.Tensor:
    """Cross-entropy + Dice + pixel-to-centroid contrast, and zero-shot answers kept where nothing is drawn.

    The weights of the terms were chosen on the phantom and on splits inside the luad pool.
    """
    phi, scorer = _updated_features(model, batch)
    n = len(batch.targets)
    logits = model.scores(phi)
    loss = _drawn_loss(logits[:n], phi[:n], batch.targets, batch.weights, dice, contrast)
    reference = (scorer.kappa * model.zero_shot(batch.grids)).softmax(dim=1)
    free = torch.ones_like(logits[:, :1])
    free[:n] = 1 - batch.targets.sum(dim=1, keepdim=True) - batch.excluded
    loss = loss + losses.complementary_label(logits[:n], reference[:n], batch.excluded, model.seen)
    return loss + distillation * losses.zero_shot_distillation(logits, reference, free)


def seen_loss(model: ProZS, batch: Batch) -> torch.Tensor:
    """The part of :func:`prozs_loss` on drawn pixels, over the seen classes only: plain supervised learning."""
    phi, _ = _updated_features(model, batch)
    seen = model.seen
    return _drawn_loss(model.scores(phi)[:, seen], phi, batch.targets[:, seen], batch.weights[seen])


def _updated_features(model: ProZS, batch: Batch) -> tuple[torch.Tensor, PrototypeScorer]:
    """Features [b, d_p, H, W] of all tiles, after the visual prototypes moved towards the annotated ones."""
    scorer = model.scorer
    if not isinstance(scorer, PrototypeScorer):
        raise TypeError("this loss is for models with a PrototypeScorer")
    phi = model.features(batch.grids)
    if model.training:
        points = phi[: len(batch.targets)].detach().movedim(1, -1).flatten(0, 2)
        scorer.bank.ema_update(points, batch.targets.movedim(1, -1).flatten(0, 2))
    return phi, scorer


def _drawn_loss(
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
    phi = model.features(batch.grids)
    seen = model.seen
    logits, targets = model.scores(phi)[:, seen], batch.targets[:, seen]
    return losses.focal(logits, targets) + 0.01 * losses.contrast(phi, targets, temperature=2.0)


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
        """Label mass of these annotated tiles and the share of no seen class [b, C + 1, H, W]."""
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
    """Re-estimate the visual prototypes from a sample of labelled cells."""
    scorer = model.scorer
    if not isinstance(scorer, PrototypeScorer):
        return
    model.eval()
    points, mass, scale = [], [], 1.0
    for start in range(0, len(data.labelled), 16):
        index = list(range(start, min(start + 16, len(data.labelled))))
        phi = model.features(data.grids[[data.labelled[i] for i in index]].to(model.text.device))
        flat = phi.movedim(1, -1).flatten(1, 2).cpu()
        goal = targets[index][:, :-1].movedim(1, -1).flatten(1, 2)
        scale = flat.shape[1] / min(_CELLS_PER_TILE, flat.shape[1])
        for f, g in zip(flat, goal, strict=True):
            keep = torch.randperm(len(f), generator=generator)[:_CELLS_PER_TILE]
            points.append(f[keep])
            mass.append(g[keep])
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
    probe = model.features(data.grids[list(data.labelled[:1])].to(device))
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
    keep = torch.randperm(len(pool), generator=generator)[:64].tolist()
    return data.grids[[pool[i] for i in keep]].layers


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
        grids = data.grids[[data.labelled[i] for i in index] + extra].to(weights.device)
        goal = targets[index].to(weights.device)
        batch = _thinned(Batch(grids, goal[:, :-1], goal[:, -1:], weights), recipe.thin, generator)
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
    grids = DenseFeatures(batch.grids.aligned[..., rows, columns], batch.grids.layers[..., rows, columns])
    return Batch(grids, batch.targets[..., rows, columns], batch.excluded[..., rows, columns], batch.weights)
