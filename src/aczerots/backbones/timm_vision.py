"""``timm:``: vision-only models of timm as helpers (UNI, Virchow, DINOv2, ...): patch features, no text."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Sequence
from typing import Any, final

import torch

from aczerots.backbones.checkpoints import read_state
from aczerots.backbones.locator import Locator
from aczerots.backbones.refine import HelperInfo
from aczerots.backbones.sources import HUB, find_model, first_file, need
from aczerots.backbones.windows import whole_cells
from aczerots.errors import InputError, SettingsError

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""RGB statistics of ImageNet, in [0, 1], where a model states none."""

NAMED = {"SwiGLUPacked": "timm.layers:SwiGLUPacked", "SiLU": "torch.nn:SiLU", "GELU": "torch.nn:GELU"}
"""Parts that a configuration may ask for by name; those that publish it write them in Python."""

HUB_ARGUMENTS: dict[str, dict[str, Any]] = {
    "mahmoodlab/uni": {"init_values": 1e-5},
    "mahmoodlab/uni2-h": {
        "img_size": 224,
        "patch_size": 14,
        "depth": 24,
        "num_heads": 24,
        "init_values": 1e-5,
        "embed_dim": 1536,
        "mlp_ratio": 2.66667 * 2,
        "no_embed_class": True,
        "mlp_layer": "SwiGLUPacked",
        "act_layer": "SiLU",
        "reg_tokens": 8,
    },
    "paige-ai/virchow": {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"},
    "paige-ai/virchow2": {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"},
}
"""What the model cards of these hub ids have one pass to timm, besides what their configuration says."""


@final
class TimmHelper:
    """A model of timm with patch tokens as a helper. Made by :func:`load_timm`.

    Args:
        model: A model of timm that takes images of any size; tokens before the patches are told by
            ``num_prefix_tokens``.
        info: Facts about it.
        mean: RGB mean that images are normalised with, in [0, 1].
        std: RGB standard deviation, likewise.
    """

    def __init__(self, model: Any, info: HelperInfo, mean: Sequence[float], std: Sequence[float]) -> None:
        self._model, self._info = model.eval().requires_grad_(False), info
        centre, scale = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (mean, std))
        self._factor, self._shift = 1 / (255 * scale), -centre / scale

    @property
    def info(self) -> HelperInfo:
        """Facts that decide the features."""
        return self._info

    def to(self, device: torch.device | str) -> TimmHelper:
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
        tokens: torch.Tensor = self._model.forward_features(pixels)
        patches = tokens[:, self._model.num_prefix_tokens :].mT.float()
        return patches.reshape(*patches.shape[:2], gh, gw).to(images.device)


def load_timm(locator: Locator) -> TimmHelper:
    """Load a vision-only model of timm.

    Args:
        locator: ``timm:`` and a folder with ``config.json`` and weights as timm publishes them, a hub id with or
            without ``hf-hub:`` before it, or a name that timm knows: ``vit_base_patch14_dinov2.lvd142m``.

    Returns:
        The helper, on the CPU.

    Raises:
        SettingsError: The locator asks for a dense method; a helper has none.
        InputError: Not to be found, refused, damaged, or a model without patch tokens.
        MissingExtraError: timm is not installed.
    """
    if locator.method or locator.large:
        raise SettingsError("a helper has no dense method", where=locator.text, fix="Leave out what follows '#'")
    need("timm", ("timm", "huggingface_hub"), locator)
    known = not locator.is_folder and not locator.source.startswith(HUB) and "/" not in locator.source
    model, facts, revision = (_known if known else _saved)(locator)
    if getattr(model, "num_prefix_tokens", None) is None or not hasattr(model, "patch_embed"):
        fix = "Choose a vision transformer, as vit_base_patch14_dinov2.lvd142m"
        raise InputError(f"its model ({type(model).__name__}) has no patch tokens", where=locator.where, fix=fix)
    info = HelperInfo(locator.text, revision, int(model.patch_embed.patch_size[0]), int(model.num_features))
    return TimmHelper(model, info, facts.get("mean", MEAN), facts.get("std", STD))


def _saved(locator: Locator) -> tuple[Any, dict[str, Any], str]:
    """(model, facts about images, revision) of a folder or a hub id."""
    folder, revision, weights = find_model(locator, WEIGHTS, (CONFIG,))
    path = first_file(folder, (CONFIG,), locator, "configuration of timm")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        name, facts = config["architecture"], config.get("pretrained_cfg", config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path.name} names no architecture of timm", where=locator.where) from error
    wanted = {**config.get("model_args", {}), **HUB_ARGUMENTS.get(locator.source.removeprefix(HUB).lower(), {})}
    model = _create(locator, name, wanted)
    state = {k: v for k, v in read_state(weights, locator.where).items() if not k.startswith("head.")}
    fix = f"Put the arguments that its model card passes to timm into model_args of {CONFIG}"
    try:
        missing, extra = model.load_state_dict(state, strict=False)
    except RuntimeError as error:  # a shape
        text = " ".join(str(error).split())
        raise InputError(f"the weights do not fit {name}: {text[:200]}", where=locator.where, fix=fix) from error
    if missing or extra:
        what = f"the weights have no tensor {missing[0]}" if missing else f"{name} has no place for {extra[0]}"
        raise InputError(what, where=locator.where, fix=fix)
    return model, facts, revision


def _known(locator: Locator) -> tuple[Any, dict[str, Any], str]:
    """(model, facts about images, revision) of a name that timm knows; its weights are downloaded."""
    timm: Any = importlib.import_module("timm")
    name = locator.source
    if not timm.is_model(name.split(".")[0]):
        fix = "Give a folder, hf-hub:ID, or a name of timm.list_models(pretrained=True)"
        raise InputError("is neither a folder nor a model that timm knows", where=locator.where, fix=fix)
    model = _create(locator, name, {"pretrained": True})
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode() + tensor.numpy().tobytes())
    return model, dict(model.pretrained_cfg), f"sha256:{digest.hexdigest()}"


def _create(locator: Locator, name: str, wanted: dict[str, Any]) -> Any:
    """A model of timm without classifier, for images of any size.

    Raises:
        InputError: timm knows no such model, cannot make it of such parts, or cannot get its weights.
    """
    timm: Any = importlib.import_module("timm")
    parts = {key: _part(value) for key, value in wanted.items()}
    try:
        return timm.create_model(name, **{"num_classes": 0, "dynamic_img_size": True, **parts})
    # Arguments are handed to constructors as they are, which may fail in all these ways; so may a download.
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        text = " ".join(str(error).split())[:200]
        if "dynamic_img_size" in text:
            fix = "Choose a vision transformer, as vit_base_patch14_dinov2.lvd142m"
            raise InputError(
                f"{name} has no patch tokens for images of any size", where=locator.where, fix=fix
            ) from error
        raise InputError(f"cannot be loaded: {text}", where=locator.where) from error


def _part(value: Any) -> Any:
    """A part that is asked for by name, else the value as it is."""
    if not isinstance(value, str) or value not in NAMED:
        return value
    module, _, attribute = NAMED[value].partition(":")
    return getattr(importlib.import_module(module), attribute)
