"""A vision-only model of any library as a helper: patch features from one pass over the whole image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import torch

from aczerots.backbones.refine import HelperInfo
from aczerots.backbones.windows import whole_cells

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""RGB statistics of ImageNet, in [0, 1], as vision-only models use them where they state nothing."""


@final
class PatchHelper:
    """A vision transformer as a helper; satisfies :class:`~aczerots.backbones.refine.Helper`.

    Args:
        model: The model, frozen, in evaluation mode.
        patches: (normalised pixels float [b, 3, h, w], number of cells n) -> patch tokens [b, n, c] in rows.
        info: Facts about it.
        mean: RGB mean that images are normalised with, in [0, 1].
        std: RGB standard deviation, likewise.
    """

    def __init__(
        self,
        model: Any,
        patches: Callable[[torch.Tensor, int], torch.Tensor],
        info: HelperInfo,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        self._model, self._patches, self._info = model, patches, info
        centre, scale = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (mean, std))
        self._factor, self._shift = 1 / (255 * scale), -centre / scale

    @property
    def info(self) -> HelperInfo:
        """Facts that decide the features."""
        return self._info

    def to(self, device: torch.device | str) -> PatchHelper:
        """Moves the weights, like a torch module, and returns this same object."""
        self._model.to(device)
        return self

    @torch.no_grad()
    def encode_patches(self, images: torch.Tensor) -> torch.Tensor:
        """Patch tokens after the final norm, from one pass over the whole image at its own scale.

        Args:
            images: RGB uint8 [b, 3, h, w].

        Returns:
            Float32 [b, c, ceil(h / stride), ceil(w / stride)] on the device of ``images``.
        """
        device, stride = next(self._model.parameters()).device, self._info.stride
        pixels = whole_cells(images.to(device).float(), stride)
        gh, gw = (side // stride for side in pixels.shape[-2:])
        pixels = pixels.mul_(self._factor.to(device)).add_(self._shift.to(device))
        patches = self._patches(pixels, gh * gw).mT.float()
        return patches.reshape(*patches.shape[:2], gh, gw).to(images.device)
