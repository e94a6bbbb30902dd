"""ProZS: pixel features against class prototypes. Assembled from parts; see presets.py."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from aczerots.backbones.base import DenseFeatures
from aczerots.prozs.prototypes import PrototypeBank


class DotScorer(nn.Module):
    """The paper's scores: plain inner products, no norm and no temperature (Sec. 3.3)."""

    def forward(self, phi: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Scores [b, C, H, W]."""
        return torch.einsum("bdhw,cd->bchw", phi, vectors)


class PrototypeScorer(nn.Module):
    """Scores from text and visual prototypes.

    ``s_pc = kappa [(1 - a_c) cos(phi_p, v_c) + a_c softmax_m cos(phi_p, mu_cm)] - b [c has labels]`` with the
    calibration bias b. A seen class without labels yet is treated as unseen. Classes without labels have only v_c,
    moved by the mean displacement mu - v of the others.

    Args:
        bank: The visual prototypes.
        kappa: Factor on cosines.
    """

    def __init__(self, bank: PrototypeBank, kappa: float) -> None:
        super().__init__()
        self.bank = bank
        self.kappa = kappa
        self.register_buffer("calibration_bias", torch.zeros(()))
        self.calibration_bias: torch.Tensor

    def displaced(self, vectors: torch.Tensor) -> torch.Tensor:
        """Class vectors [C, d_p]; those without labels follow the text-to-visual displacement."""
        trust = self.bank.trust * self.bank.labelled
        if not bool(self.bank.labelled.any()):
            return vectors
        weight = self.bank.used.float()
        mean = (self.bank.centres * weight[..., None]).sum(dim=1) / weight.sum(dim=1).clamp_min(1)[:, None]
        delta = ((mean - vectors) * trust[:, None]).sum(dim=0) / self.bank.labelled.sum()
        moved = F.normalize(vectors + delta, dim=1)
        return torch.where(self.bank.labelled[:, None], vectors, moved)

    def forward(self, phi: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Scores [b, C, H, W]."""
        points = phi.movedim(1, -1)
        trust = self.bank.trust
        text = points @ self.displaced(vectors).T
        score = self.kappa * ((1 - trust) * text + trust * self.bank.similarity(points, self.kappa))
        return (score - self.calibration_bias * self.bank.labelled).movedim(-1, 1)


class ProZS(nn.Module):
    """Prototype-guided zero-shot segmentation model.

    Args:
        decoder: DenseFeatures -> pixel features [b, d_p, H, W].
        projection: Text prototypes [C, d] -> class vectors [C, d_p].
        scorer: (features, class vectors) -> scores [b, C, H, W].
        text: Unit text prototypes t_c, float [C, d].
        seen: Bool [C].
    """

    def __init__(
        self,
        decoder: nn.Module,
        projection: nn.Module,
        scorer: nn.Module,
        text: torch.Tensor,
        seen: torch.Tensor,
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.projection = projection
        self.scorer = scorer
        self.register_buffer("text", text.clone())
        self.register_buffer("seen", seen.clone())
        self.text: torch.Tensor
        self.seen: torch.Tensor

    def zero_shot(self, dense: DenseFeatures) -> torch.Tensor:
        """Cosines [b, C, H, W] of dense embeddings to text prototypes: what words alone say, whatever was fitted."""
        return torch.einsum("bdhw,cd->bchw", dense.aligned, self.text)

    def features(self, dense: DenseFeatures) -> torch.Tensor:
        """Pixel features phi [b, d_p, H, W]."""
        phi: torch.Tensor = self.decoder(dense)
        return phi

    def scores(self, phi: torch.Tensor) -> torch.Tensor:
        """Class scores (logits) [b, C, H, W] of pixel features."""
        out: torch.Tensor = self.scorer(phi, self.projection(self.text))
        return out

    def forward(self, dense: DenseFeatures) -> torch.Tensor:
        """Class scores (logits) [b, C, H, W]."""
        return self.scores(self.features(dense))
