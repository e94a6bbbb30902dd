"""The two learned towers of the embedded backbone and their joint space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aczerots.backbones.embedded import tokenizer

DIM = 64
"""Dimension of the joint space."""

LAYER_DIM = 160
"""Dimension of the layer tokens."""

LEARNED_DIM = 64
"""How many of them are learned; the others are principal components of the measurements."""


class ImageTower(nn.Module):
    """Measurements to joint space: a linear reading of the named attributes plus a learned correction.

    The correction is a perceptron; context comes from the windows of the measurements.

    Args:
        measurements: Number of measurements.
        width: Hidden width.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, measurements: int, width: int = 192) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(measurements))
        self.register_buffer("scale", torch.ones(measurements))
        self.principal = nn.Linear(measurements, LAYER_DIM - LEARNED_DIM)
        self.reading = nn.Linear(measurements, DIM)
        self.enter = nn.Linear(measurements, width)
        self.mix = nn.Linear(width, width)
        self.correct = nn.Linear(width, DIM)
        self.tokens = nn.Linear(width, LEARNED_DIM)
        nn.init.zeros_(self.correct.weight)
        nn.init.zeros_(self.correct.bias)

    def standard(self, measured: Tensor) -> Tensor:
        """Standardised measurements float [b, gh, gw, m] within -3 and 3."""
        return ((measured.movedim(1, -1) - self.center) / self.scale).clamp(-3, 3)

    def hidden(self, z: Tensor) -> Tensor:
        """Hidden features float [b, gh, gw, width]."""
        x = F.gelu(self.enter(z))
        out: Tensor = x + F.gelu(self.mix(x))
        return out

    def forward(self, measured: Tensor) -> tuple[Tensor, Tensor]:
        """(aligned float [b, d, gh, gw] of unit length along d, layers [b, d_v, gh, gw])."""
        z = self.standard(measured)
        x = self.hidden(z)
        aligned = F.normalize(self.reading(z) + self.correct(x), dim=-1)
        layers = torch.cat([self.principal(z), self.tokens(x)], -1)
        return aligned.movedim(-1, 1), layers.movedim(-1, 1)


class TextTower(nn.Module):
    """Sentence to joint space: a gated bag of hashed features and two layers."""

    def __init__(self, width: int = 96, hidden: int = 256) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(tokenizer.BUCKETS, width, mode="sum")
        self.gate = nn.Embedding(tokenizer.BUCKETS, 1)
        self.hidden = nn.Linear(width, hidden)
        self.head = nn.Linear(hidden, DIM)
        self.skip = nn.Linear(width, DIM)
        nn.init.normal_(self.table.weight, std=0.1)
        nn.init.zeros_(self.gate.weight)

    def raw(self, sentences: Sequence[str]) -> Tensor:
        """Float [n, d] before it is brought to unit length."""
        device = self.gate.weight.device
        ids, starts = tokenizer.batch(sentences)
        index = torch.tensor(ids, device=device)
        offsets = torch.tensor(starts, device=device)
        weight = torch.exp(self.gate(index).squeeze(-1).clamp(-5, 5))
        owner = torch.bucketize(torch.arange(len(ids), device=device), offsets, right=True) - 1
        total = torch.zeros(len(starts), device=device).index_add(0, owner, weight)
        bag: Tensor = self.table(index, offsets, per_sample_weights=weight / total[owner])
        out: Tensor = self.skip(bag) + self.head(F.gelu(self.hidden(bag)))
        return out

    def forward(self, sentences: Sequence[str]) -> Tensor:
        """Float [n, d], unit length."""
        return F.normalize(self.raw(sentences), dim=-1)
