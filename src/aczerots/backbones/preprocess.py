"""From RGB bytes to what a vision transformer takes: whole patches, normalised."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

Statistics = tuple[Sequence[float], Sequence[float]]
"""RGB mean and standard deviation of training images, values in [0, 1]."""

IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP: Statistics = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Published with Radford et al. 2021."""

HALF: Statistics = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Of SigLIP and BEiT-3: values in [-1, 1]."""


class Preprocessing:
    """Resizing to whole patches and normalisation.

    Args:
        statistics: What images are normalised with.
        stride: Pixels per patch, each way.
    """

    def __init__(self, statistics: Statistics, stride: int) -> None:
        mean, std = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in statistics)
        self._factor, self._shift, self._stride = 1 / (255 * std), -mean / std, stride

    def __call__(self, images: torch.Tensor, device: torch.device) -> torch.Tensor:
        """RGB uint8 [b, 3, h, w] to normalised float32 [b, 3, gh * stride, gw * stride] on a device."""
        pixels = resize_to_stride(images.to(device).float(), self._stride)
        return pixels.mul_(self._factor.to(device)).add_(self._shift.to(device))


def resize_to_stride(pixels: torch.Tensor, stride: int) -> torch.Tensor:
    """Resize (bicubic) each side up to the next multiple of the stride, so that patches cover the image evenly.

    Args:
        pixels: Float [b, 3, h, w] in [0, 255].
        stride: Pixels per patch, each way.

    Returns:
        Float [b, 3, ceil(h / stride) * stride, ceil(w / stride) * stride] in [0, 255]; the same tensor if h and w
        fit.
    """
    size = [math.ceil(side / stride) * stride for side in pixels.shape[-2:]]
    if size == list(pixels.shape[-2:]):
        return pixels
    return F.interpolate(pixels, size=size, mode="bicubic", align_corners=False).clamp(0, 255)
