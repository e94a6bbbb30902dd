"""White and stain strength, of an image by itself or of a slide: what colours are measured against."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

USUAL_OD = (0.26, 0.38, 0.22)
"""Mean optical density of red, green and blue over tissue in the training images."""

_TISSUE = 0.08
"""Mean optical density above which a pixel is tissue."""

_SAMPLE = 4096


@dataclass(frozen=True)
class Stain:
    """What the colours of a slide are measured against.

    Attributes:
        white: Fraction of full scale that is white, per channel (red, green, blue).
        density: Mean optical density of tissue, per channel.
    """

    white: tuple[float, ...]
    density: tuple[float, ...]

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of both."""
        return hashlib.sha256(repr((self.white, self.density)).encode()).hexdigest()[:16]


def measure_stain(sample: Tensor) -> Stain:
    """The stain of a slide: the mean white and density of a sample of its tiles, RGB uint8 [n, 3, h, w].

    So its pixels have the densities that models have seen in tiles on average. If all tiles were measured as one
    image, white would be that of the glass, and dense tissue would look denser than it does in tiles.
    """
    x = scaled(sample)
    each = own_white(x)
    # In float64: how many threads share a sum must not show after rounding.
    white, density = each.double().mean(dim=0), own_density(raw_density(x, each).double()).mean(dim=0)
    # Digits that another processor would give too.
    return Stain(*(tuple(round(v, 5) for v in t.flatten().tolist()) for t in (white, density)))


def scaled(images: Tensor) -> Tensor:
    """RGB uint8 to fractions of full scale, float32 in (0, 1]."""
    return (images.float() + 1.0) / 256.0


def own_white(x: Tensor) -> Tensor:
    """White of each image, float32 [b, 3]: its 99th percentile, at least 0.75 of full scale.

    Args:
        x: Fractions of full scale, float32 [b, 3, h, w].
    """
    sample = x.flatten(2)[:, :, :: max(x[0, 0].numel() // _SAMPLE, 1)]
    rank = max(int(sample.shape[2] * 0.99), 1)
    return sample.kthvalue(rank, dim=2).values.clamp(0.75, 1.0)


def raw_density(x: Tensor, white: Tensor) -> Tensor:
    """Optical density float32 [b, 3, h, w], base 10, not negative, of fractions of full scale against white [b, 3]."""
    return -torch.log10((x / white[:, :, None, None]).clamp(max=1.0))


def own_density(od: Tensor) -> Tensor:
    """Mean density of the tissue in each image, float32 [b, 3, 1, 1]; the usual one where there is hardly any.

    Args:
        od: Optical density float32 [b, 3, h, w].
    """
    tissue = (od.mean(1, keepdim=True) > _TISSUE).to(od.dtype)
    fraction = tissue.mean((2, 3), keepdim=True)
    usual = torch.tensor(USUAL_OD, device=od.device).view(1, 3, 1, 1)
    mean = (od * tissue).mean((2, 3), keepdim=True) / fraction.clamp_min(1e-6)
    return torch.where(fraction > 0.02, mean, usual.expand_as(mean)).clamp_min(0.05)
