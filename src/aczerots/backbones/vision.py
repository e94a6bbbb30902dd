"""Vision-only models of transformers (DINOv2, DINOv3, ViT) as helpers: patch features, no text."""

from __future__ import annotations

import torch

from aczerots.backbones.hf import load_model
from aczerots.backbones.hf_files import VISION, check_weights, image_statistics, read_config
from aczerots.backbones.locator import Locator
from aczerots.backbones.model_files import locate_files, need
from aczerots.backbones.patches import PatchHelper, check_no_method
from aczerots.backbones.preprocess import IMAGENET
from aczerots.backbones.refine import HelperInfo
from aczerots.errors import InputError

ARCHITECTURES = {
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
    "vit": "ViTModel",
}
"""Class in transformers by ``model_type`` of the configuration."""


def load_vision(locator: Locator) -> PatchHelper:
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
    check_no_method(locator)
    need("hf", ("transformers",), locator)
    folder, revision = locate_files(locator, VISION)
    kind = read_config(folder, locator.where).get("model_type")
    if kind not in ARCHITECTURES:
        fix = f"--refine-with hf: reads {', '.join(ARCHITECTURES)}; a model that has text belongs to --backbone"
        raise InputError(f"is a model of type '{kind}'", where=locator.where, fix=fix)
    check_weights(folder, locator.where)
    statistics = image_statistics(folder, locator.where, IMAGENET)
    model = load_model(ARCHITECTURES[kind], folder, locator)
    info = HelperInfo(locator.text, revision, model.config.patch_size, model.config.hidden_size)
    options = {"interpolate_pos_encoding": True} if kind == "vit" else {}

    def patches(pixels: torch.Tensor, number: int) -> torch.Tensor:
        # The last hidden state is class token, registers, patches in rows.
        tokens: torch.Tensor = model(pixels, **options).last_hidden_state
        return tokens[:, -number:]

    return PatchHelper(model, patches, info, statistics)
