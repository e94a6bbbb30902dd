"""Vision-only models of transformers (DINOv2, DINOv3, ViT) as helpers: patch features, no text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch

from aczerots.backbones.hf import load_model, need_transformers
from aczerots.backbones.hf_files import VISION, check_weights, image_statistics, read_config
from aczerots.backbones.hub_files import locate_files
from aczerots.backbones.locator import Locator
from aczerots.backbones.refine import HelperInfo
from aczerots.backbones.windows import whole_cells
from aczerots.errors import InputError, SettingsError

ARCHITECTURES = {
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
    "vit": "ViTModel",
}
"""Class in transformers by ``model_type`` of the configuration."""

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""RGB statistics of ImageNet, in [0, 1], as these models use them where they state nothing."""


@final
class VisionHelper:
    """A vision transformer as a helper. Made by :func:`load_vision`.

    Args:
        model: A model of transformers whose last hidden state is class token, registers, patches in rows.
        info: Facts about it.
        mean: RGB mean that images are normalised with, in [0, 1].
        std: RGB standard deviation, likewise.
    """

    def __init__(self, model: Any, info: HelperInfo, mean: Sequence[float], std: Sequence[float]) -> None:
        self._model, self._info = model, info
        centre, scale = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (mean, std))
        self._factor, self._shift = 1 / (255 * scale), -centre / scale
        self._options = {"interpolate_pos_encoding": True} if model.config.model_type == "vit" else {}

    @property
    def info(self) -> HelperInfo:
        """Facts that decide the features."""
        return self._info

    def to(self, device: torch.device | str) -> VisionHelper:
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
        tokens: torch.Tensor = self._model(pixels, **self._options).last_hidden_state
        patches = tokens[:, -gh * gw :].mT.float()
        return patches.reshape(*patches.shape[:2], gh, gw).to(images.device)


def load_vision(locator: Locator) -> VisionHelper:
    """Load a vision-only model. Only safetensors weights, never a pickle.

    Args:
        locator: Its source is a folder saved by transformers, or a hub id.

    Returns:
        The helper, on the CPU. Its revision is the commit hash on the hub; for a folder a SHA-256 of all files used.

    Raises:
        SettingsError: The locator asks for a dense method; a helper has none.
        InputError: No such folder or id, not a model of these kinds, or files are missing or damaged.
        MissingExtraError: transformers is not installed.
    """
    if locator.method or locator.large:
        raise SettingsError("a helper has no dense method", where=locator.text, fix="Leave out what follows '#'")
    need_transformers(locator)
    folder, revision = locate_files(locator, VISION)
    kind = read_config(folder, locator.where).get("model_type")
    if kind not in ARCHITECTURES:
        fix = f"--refine-with hf: reads {', '.join(ARCHITECTURES)}; a model that has text belongs to --backbone"
        raise InputError(f"is a model of type '{kind}'", where=locator.where, fix=fix)
    check_weights(folder, locator.where)
    mean, std = image_statistics(folder, locator.where, (MEAN, STD))
    model = load_model(ARCHITECTURES[kind], folder, locator)
    info = HelperInfo(locator.text, revision, model.config.patch_size, model.config.hidden_size)
    return VisionHelper(model, info, mean, std)
