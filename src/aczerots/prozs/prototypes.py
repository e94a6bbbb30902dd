"""Visual prototypes: cluster centres of labelled pixel features, several per seen class."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

MAX_PROTOTYPES = 4
_SAMPLE = 4096


def spherical_kmeans(
    points: torch.Tensor, weights: torch.Tensor, k: int, generator: torch.Generator, steps: int = 12
) -> tuple[torch.Tensor, float]:
    """Weighted k-means on the unit sphere (Dhillon and Modha, 2001), seeded by farthest points.

    Args:
        points: Unit vectors [n, d], n >= k.
        weights: Non-negative [n], not all zero.
        k: Number of centres.
        generator: Picks the first centre.
        steps: Lloyd iterations.

    Returns:
        (unit centres [k, d], weighted mean cosine of the points to their centre).
    """
    first = int(torch.multinomial(weights, 1, generator=generator))
    centres = points[first : first + 1]
    while len(centres) < k:
        nearest = (points @ centres.T).amax(dim=1)
        far = int((weights * (1.0 - nearest)).argmax())
        centres = torch.cat([centres, points[far : far + 1]])
    for _ in range(steps):
        owner = (points @ centres.T).argmax(dim=1)
        sums = torch.zeros_like(centres).index_add_(0, owner, points * weights[:, None])
        # A centre that lost all its points stays where it is.
        centres = torch.where(sums.norm(dim=1, keepdim=True) > 0, F.normalize(sums, dim=1), centres)
    fit = (points @ centres.T).amax(dim=1)
    return centres, float((fit * weights).sum() / weights.sum())


def choose_centres(
    points: torch.Tensor, weights: torch.Tensor, generator: torch.Generator, most: int = MAX_PROTOTYPES
) -> torch.Tensor:
    """Cluster centres with their number M_c chosen from the data.

    A further centre must take away at least a quarter of the remaining spread 1 - mean cosine; the elbow
    rule needs no density model, which pixel features of one tissue rarely follow.

    Args:
        points: Unit vectors [n, d], n >= 1.
        weights: Positive [n].
        generator: For sampling and seeding.
        most: Centres at most.

    Returns:
        Unit centres [M_c, d], 1 <= M_c <= most.
    """
    if len(points) > _SAMPLE:
        keep = torch.multinomial(weights, _SAMPLE, generator=generator)
        points, weights = points[keep], weights[keep]
    centres, fit = spherical_kmeans(points, weights, 1, generator)
    for k in range(2, min(most, len(points)) + 1):
        more, better = spherical_kmeans(points, weights, k, generator)
        if 1.0 - better > 0.75 * (1.0 - fit):
            break
        centres, fit = more, better
    return centres


class PrototypeBank(nn.Module):
    """Visual prototypes of all classes; classes without labels have none.

    Args:
        classes: Number of classes C.
        dim: Feature dimension d_p.
        even: n_0, the label count (in labelled patches) at which text and visual prototypes weigh the same.
        momentum: Fraction of the old centre kept by an EMA update.
        most: Prototypes of a class at most; their number is chosen from the data.
    """

    def __init__(
        self, classes: int, dim: int, even: float = 500.0, momentum: float = 0.95, most: int = MAX_PROTOTYPES
    ) -> None:
        super().__init__()
        self.even = even
        self.momentum = momentum
        self.register_buffer("centres", torch.zeros(classes, most, dim))
        self.register_buffer("used", torch.zeros(classes, most, dtype=torch.bool))
        self.register_buffer("counts", torch.zeros(classes))
        # 1, or 0 where words alone do better on held-out tiles (prototype_weight.py).
        self.register_buffer("weight", torch.ones(()))
        self.weight: torch.Tensor
        self.centres: torch.Tensor
        self.used: torch.Tensor
        self.counts: torch.Tensor

    @property
    def trust(self) -> torch.Tensor:
        """a_c = w n_c / (n_c + n_0), float [C]: weight of the visual prototypes."""
        return self.weight * self.counts / (self.counts + self.even)

    @property
    def labelled(self) -> torch.Tensor:
        """Bool [C]: classes that have labels. A seen class without labels has words only."""
        return self.counts > 0

    def refit(self, points: torch.Tensor, targets: torch.Tensor, generator: torch.Generator) -> None:
        """Set all centres from labelled features.

        Args:
            points: Unit features [n, d_p], on the CPU.
            targets: Label mass [n, C]: per patch the fraction of its pixels labelled with each class.
            generator: For clustering.
        """
        self.used.zero_()
        self.counts.copy_(targets.sum(dim=0))
        for c in range(targets.shape[1]):
            mine = targets[:, c] > 0.5
            if not bool(mine.any()):
                mine = targets[:, c] > 0
            if bool(mine.any()):
                centres = choose_centres(points[mine], targets[mine, c], generator, self.used.shape[1])
                self.centres[c, : len(centres)] = centres.to(self.centres.device)
                self.used[c, : len(centres)] = True

    @torch.no_grad()
    def ema_update(self, points: torch.Tensor, targets: torch.Tensor) -> None:
        """Exponential moving average of the nearest centre of each class; arguments as in :meth:`refit`."""
        fraction, label = targets.max(dim=1)
        mine = (fraction > 0.5) & self.used.any(dim=1)[label]
        points, label = points[mine], label[mine]
        classes, most, dim = self.centres.shape
        near = torch.einsum("nd,cmd->ncm", points, self.centres)[torch.arange(len(points)), label]
        owner = label * most + near.masked_fill(~self.used[label], -math.inf).argmax(dim=1)
        sums = torch.zeros(classes * most, dim, device=points.device).index_add_(0, owner, points)
        sums = sums.view(classes, most, dim)
        hit = sums.norm(dim=2, keepdim=True) > 0
        new = self.momentum * self.centres + (1 - self.momentum) * F.normalize(sums, dim=2)
        # A new tensor: the old one may still be needed by a backward pass.
        self.centres = torch.where(hit, F.normalize(new, dim=2), self.centres)

    def similarity(self, phi: torch.Tensor, kappa: float) -> torch.Tensor:
        """Soft maximum over a class's centres of the cosine.

        ``(1 / kappa) * log mean_m exp(kappa * cos(phi, mu_cm))``: a logsumexp on the scale
        of a cosine, so that classes with many centres have no head start.

        Args:
            phi: Unit features [..., d_p].
            kappa: Inverse temperature.

        Returns:
            [..., C]; 0 for classes without centres.
        """
        cosine = torch.einsum("...d,cmd->...cm", phi, self.centres) * kappa
        cosine = cosine.masked_fill(~self.used, -math.inf)
        number = self.used.sum(dim=1).clamp_min(1).log()
        has = self.used.any(dim=1)
        safe = torch.where(has[:, None], cosine, torch.zeros_like(cosine))
        soft = (torch.logsumexp(safe, dim=-1) - number) / kappa
        return torch.where(has, soft, torch.zeros_like(soft))
