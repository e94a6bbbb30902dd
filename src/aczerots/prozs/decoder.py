"""Decoders: backbone dense to pixel features; and the projections of text into the same space."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from aczerots.backbones.base import DenseFeatures


class ResidualDecoder(nn.Module):
    """Pixel features at grid resolution: the aligned grid plus a learned linear correction.

    The correction starts at zero, so that before any training the features are the backbone's own and the
    model is its zero-shot segmenter. It is linear because the backbone has seen the context already: hidden
    layers fitted better and generalised worse with few drawn tiles (docs/results.md).

    Args:
        dim: Joint-space dimension d; also the feature dimension d_p.
        layer_dim: Dimension d_v of the layer tokens.
        dropout: Fraction of the inputs that a training step hides, the same in all patches of a tile: neighbouring
            patches say much the same, so that one could stand in for another (Tompson et al., 2015).
    """

    def __init__(self, dim: int, layer_dim: int, dropout: float = 0.3) -> None:
        super().__init__()
        self.drop = nn.Dropout2d(dropout)
        self.correct = nn.Conv2d(dim + layer_dim, dim, 1, bias=False)
        nn.init.zeros_(self.correct.weight)
        self.register_buffer("mean", torch.zeros(layer_dim))
        self.register_buffer("std", torch.ones(layer_dim))
        self.mean: torch.Tensor
        self.std: torch.Tensor

    def standardise(self, layers: torch.Tensor) -> None:
        """Set the input scaling from layer tokens [b, d_v, gh, gw] of the pool (no labels involved)."""
        self.mean.copy_(layers.mean(dim=(0, 2, 3)))
        self.std.copy_(layers.std(dim=(0, 2, 3)).clamp_min(1e-6))

    def forward(self, dense: DenseFeatures) -> torch.Tensor:
        """Unit pixel features [b, d, gh, gw]."""
        layers = (dense.layers - self.mean[:, None, None]) / self.std[:, None, None]
        x = torch.cat([dense.aligned * math.sqrt(dense.aligned.shape[1]), layers], dim=1)
        return F.normalize(dense.aligned + self.correct(self.drop(x)), dim=1)


def _conv_block(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU (paper, Fig. 4a)."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class PaperDecoder(nn.Module):
    """The paper's patch-to-pixel decoder (Fig. 4a): 1x1 block, doublings with double 3x3 blocks, d = 64.

    The paper doubles five times (stride 32); here the number of doublings follows the backbone's stride, so
    that the output has the resolution of the image. Widths are not stated in the paper; all are 64 here.

    Args:
        layer_dim: Dimension d_v of the layer tokens.
        stride: Pixels per grid cell, a power of two.
        dim: Feature dimension d_p.
    """

    def __init__(self, layer_dim: int, stride: int, dim: int = 64) -> None:
        super().__init__()
        doublings = round(math.log2(stride))
        if 2**doublings != stride:
            raise ValueError(f"stride {stride} is no power of two")
        blocks: list[nn.Module] = [_conv_block(layer_dim, dim, 1)]
        for i in range(doublings):
            if i:
                blocks += [_conv_block(dim, dim, 3), _conv_block(dim, dim, 3)]
            blocks.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
        blocks += [_conv_block(dim, dim, 3), _conv_block(dim, dim, 3)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, dense: DenseFeatures) -> torch.Tensor:
        """Pixel features [b, 64, gh * stride, gw * stride], not normalised."""
        # Channels last is 1.7 times as fast on a processor.
        out: torch.Tensor = self.blocks(dense.layers.contiguous(memory_format=torch.channels_last))
        return out


class ResidualProjection(nn.Module):
    """Text projection T: identity plus a linear map that starts at zero.

    Args:
        dim: Joint-space dimension d.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.shift = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.shift.weight)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """Unit class vectors [C, d] from unit text prototypes [C, d]."""
        return F.normalize(text + self.shift(text), dim=1)


class PaperProjection(nn.Module):
    """The paper's text-to-prototype projector: three linear layers, d_t to 64 (Sec. 3.3, Text Pathway).

    Hidden widths and activations are not stated; here the middle layers keep d_t and ReLU stands between.

    Args:
        dim: Text dimension d_t.
        out: Feature dimension d_p.
    """

    def __init__(self, dim: int, out: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, out))

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """Category prototypes V [C, 64] from text prototypes [C, d_t]."""
        out: torch.Tensor = self.layers(text)
        return out
