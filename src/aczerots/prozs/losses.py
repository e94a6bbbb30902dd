"""Losses on soft targets: the label mass of each class in a patch, zero where nothing is annotated."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F

from aczerots.taxonomy import NO_SEEN

_EPS = 1e-6


def soft_targets(labels: torch.Tensor, classes: int, size: tuple[int, int]) -> torch.Tensor:
    """Label mass per patch.

    Args:
        labels: Label ids uint8 [b, h, w]; ids >= classes (IGNORE) count as not annotated.
        classes: Number of classes C.
        size: (H, W) in patches; each averages the pixels that it covers.

    Returns:
        Float32 [b, C, H, W]: fraction of the patch's pixels labelled with each class; sums to <= 1 over C.
    """
    return _fractions(labels, range(classes), size)


def complementary_mass(labels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Fraction of each patch's pixels that are of no seen class, float32 [b, 1, H, W]; arguments as above."""
    return _fractions(labels, [NO_SEEN], size)


def _fractions(labels: torch.Tensor, ids: Sequence[int], size: tuple[int, int]) -> torch.Tensor:
    """Fraction of each patch's pixels that have each of some ids, float32 [b, len(ids), H, W]."""
    b, h, w = labels.shape
    rows, columns = size
    wanted = torch.as_tensor(ids, device=labels.device)
    if (h, w) == size or h % rows or w % columns:
        onehot = (labels[:, None] == wanted[:, None, None]).float()
        return onehot if (h, w) == size else F.adaptive_avg_pool2d(onehot, size)
    # Counting ids is several times faster than averaging one mask per id.
    bins = len(wanted) + 1
    patches = b * rows * columns
    kind = torch.int32 if patches * bins < 2**31 else torch.int64
    count = partial(torch.arange, dtype=kind, device=labels.device)
    place = torch.full((256,), len(wanted), dtype=kind, device=labels.device)
    place[wanted] = count(len(wanted))
    row, column = count(h) // (h // rows), count(w) // (w // columns)
    patch = count(b)[:, None, None] * (rows * columns) + (row[:, None] * columns + column)
    counts = torch.bincount((patch * bins + place[labels.int()]).flatten(), minlength=patches * bins)
    found = counts.view(b, rows, columns, bins)[..., :-1].movedim(-1, 1)
    return found.float() * (rows * columns / (h * w))


def class_weights(mass: torch.Tensor, power: float = 0.5, limit: float = 10.0) -> torch.Tensor:
    """Weights [C] proportional to mass^-power, mean 1 over the classes present, at most ``limit``.

    Args:
        mass: Total label mass [C]; absent classes get weight 1.
        power: 0 counts pixels alike, 1 counts classes alike.
        limit: Upper bound.
    """
    here = mass > 0
    raw = torch.where(here, mass.clamp_min(_EPS) ** -power, torch.zeros_like(mass))
    scaled = raw / raw[here].mean().clamp_min(_EPS) if bool(here.any()) else raw
    return torch.where(here, scaled.clamp_max(limit), torch.ones_like(mass))


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with soft targets, averaged over the weighted label mass.

    Args:
        logits: [b, C, H, W].
        targets: Label mass [b, C, H, W].
        weights: Per class [C].

    Returns:
        Scalar; 0 when nothing is labelled.
    """
    mass = targets * weights[:, None, None]
    return -(mass * F.log_softmax(logits, dim=1)).sum() / mass.sum().clamp_min(_EPS)


def dice(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1 - mean soft Dice over the classes labelled in the batch (Milletari et al., 2016), labelled mass only.

    Arguments as in :func:`cross_entropy`.
    """
    known = targets.sum(dim=1, keepdim=True)
    p = F.softmax(logits, dim=1) * known
    overlap = (p * targets).sum(dim=(0, 2, 3))
    total = (p * known).sum(dim=(0, 2, 3)) + (targets * known).sum(dim=(0, 2, 3))
    here = targets.sum(dim=(0, 2, 3)) > 0
    score = 2 * overlap / total.clamp_min(_EPS)
    return 1 - score[here].mean() if bool(here.any()) else logits.sum() * 0


def focal(logits: torch.Tensor, targets: torch.Tensor, power: float = 2.0) -> torch.Tensor:
    """Focal loss (Lin et al., 2017), mean over the label mass; the paper's L_seg, Eq. 2.

    The paper states no hyper-parameters; 2 is the focal paper's own.
    """
    log_p = F.log_softmax(logits, dim=1)
    return -(targets * (1 - log_p.exp()) ** power * log_p).sum() / targets.sum().clamp_min(_EPS)


def contrast(phi: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Pixel-to-centroid contrast: each labelled pixel is pulled to its class mean, away from the others'.

    ``cp_i`` is the mean feature of class i in the batch (paper, Eq. 3); the loss is the InfoNCE form of
    Eq. 4, ``-log exp(<phi_t, cp_i> / tau) / sum_j exp(<phi_t, cp_j> / tau)``, averaged over the label mass.
    As printed, Eq. 4 has neither exp nor log and its temperature cancels.

    Args:
        phi: Pixel features [b, d_p, H, W].
        targets: Label mass [b, C, H, W].
        temperature: tau.

    Returns:
        Scalar; 0 when fewer than two classes are labelled.
    """
    here = targets.sum(dim=(0, 2, 3)) > 0
    if int(here.sum()) < 2:
        return phi.sum() * 0
    mass = targets[:, here]
    centroids = torch.einsum("bdhw,bchw->cd", phi, mass) / mass.sum(dim=(0, 2, 3))[:, None]
    affinity = torch.einsum("bdhw,cd->bchw", phi, centroids) / temperature
    return -(mass * F.log_softmax(affinity, dim=1)).sum() / mass.sum().clamp_min(_EPS)


def complementary_label(
    logits: torch.Tensor, reference: torch.Tensor, no_seen: torch.Tensor, seen: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy where the expert says "none of the seen classes", to the zero-shot answer among the others.

    The label is a set of classes; within it the zero-shot answer decides (as pseudo-labels do in
    transductive zero-shot segmentation; Zhou et al., 2023).

    Args:
        logits: The model's scores [b, C, H, W].
        reference: Zero-shot posterior [b, C, H, W].
        no_seen: Fraction of each patch that is of no seen class [b, 1, H, W].
        seen: Which classes are seen [C].

    Returns:
        Mean over that fraction; 0 where it is 0 everywhere, or no class is unseen.
    """
    if bool(seen.all()):
        return logits.sum() * 0
    goal = reference[:, ~seen]
    goal = goal / goal.sum(dim=1, keepdim=True).clamp_min(1e-8)
    return -(goal * F.log_softmax(logits, dim=1)[:, ~seen] * no_seen).sum() / no_seen.sum().clamp_min(_EPS)


def zero_shot_distillation(logits: torch.Tensor, reference: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """KL divergence from the zero-shot answer on pixels without labels, so that unseen classes survive (distillation).

    Args:
        logits: The model's scores [b, C, H, W].
        reference: Zero-shot posterior [b, C, H, W].
        weight: Fraction of each patch that is not annotated [b, 1, H, W].

    Returns:
        Mean of KL(reference || model) over the weight.
    """
    gap = reference * (reference.clamp_min(1e-8).log() - F.log_softmax(logits, dim=1))
    return (gap * weight).sum() / weight.sum().clamp_min(_EPS)
