"""A vision-only model of any library as a helper: patch features from one pass over the whole image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch

from aczerots.backbones.locator import Locator
from aczerots.backbones.preprocess import Preprocessing, Statistics
from aczerots.backbones.refine import HelperInfo
from aczerots.errors import SettingsError


def check_no_method(locator: Locator) -> None:
    """Refuse a dense method, or a treatment of large images, in the locator of a helper.

    Raises:
        SettingsError: There is one.
    """
    if locator.method or locator.large:
        raise SettingsError("a helper has no dense method", where=locator.text, fix="Leave out what follows '#'")


@final
class PatchHelper:
    """A vision transformer as a helper; satisfies :class:`~aczerots.backbones.refine.Helper`.

    Args:
        model: The model, frozen, in evaluation mode.
        patches: (normalised pixels float [b, 3, h, w], number of patches n) -> patch tokens [b, n, c] in rows.
        info: Facts about it.
        statistics: What images are normalised with.
    """

    def __init__(
        self,
        model: Any,
        patches: Callable[[torch.Tensor, int], torch.Tensor],
        info: HelperInfo,
        statistics: Statistics,
    ) -> None:
        self._model, self._patches, self._info = model, patches, info
        self._preprocess = Preprocessing(statistics, info.stride)

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
        pixels = self._preprocess(images, next(self._model.parameters()).device)
        gh, gw = (side // self._info.stride for side in pixels.shape[-2:])
        patches = self._patches(pixels, gh * gw).mT.float()
        return patches.reshape(*patches.shape[:2], gh, gw).to(images.device)
