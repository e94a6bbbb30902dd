"""``timm:``: vision-only models of timm as helpers (UNI, Virchow, DINOv2, ...): patch features, no text."""

from __future__ import annotations

import hashlib
import importlib
import json
from typing import Any

import torch

from aczerots.backbones.checkpoints import read_state
from aczerots.backbones.locator import Locator
from aczerots.backbones.model_files import find_model, first_file, loading, need
from aczerots.backbones.preprocess import IMAGENET
from aczerots.backbones.refine import Helper, HelperInfo
from aczerots.errors import InputError

_CHOOSE = "Choose a vision transformer, as vit_base_patch14_dinov2.lvd142m"
CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
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


def load_timm(locator: Locator) -> Helper:
    """Load a vision-only model of timm, on the CPU.

    Args:
        locator: ``timm:`` and a folder with ``config.json`` and weights as timm publishes them, a hub id with or
            without ``hf-hub:`` before it, or a name that timm knows: ``vit_base_patch14_dinov2.lvd142m``.
    """
    need("timm", ("timm", "huggingface_hub"), locator)
    model, facts, revision = (_known if locator.is_library_name else _saved)(locator)
    if getattr(model, "num_prefix_tokens", None) is None or not hasattr(model, "patch_embed"):
        what = f"its model ({type(model).__name__}) has no patch tokens"
        raise InputError(what, where=locator.where, fix=_CHOOSE)
    info = HelperInfo(locator.text, revision, int(model.patch_embed.patch_size[0]), int(model.num_features))
    model.eval().requires_grad_(False)

    def patches(pixels: torch.Tensor, _: int) -> torch.Tensor:
        tokens: torch.Tensor = model.forward_features(pixels)
        return tokens[:, model.num_prefix_tokens :]

    statistics = facts.get("mean", IMAGENET[0]), facts.get("std", IMAGENET[1])
    return Helper(model, patches, info, statistics)


def _saved(locator: Locator) -> tuple[Any, dict[str, Any], str]:
    """(model, facts about images, revision) of a folder or a hub id."""
    folder, revision, weights = find_model(locator, WEIGHTS, (CONFIG,))
    path = first_file(folder, (CONFIG,), locator, "configuration of timm")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        name, facts = config["architecture"], config.get("pretrained_cfg", config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path.name} names no architecture of timm", where=locator.where) from error
    wanted = {**config.get("model_args", {}), **HUB_ARGUMENTS.get(locator.name.lower(), {})}
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
    """A model of timm without classifier, for images of any size."""
    timm: Any = importlib.import_module("timm")
    parts = {key: _part(value) for key, value in wanted.items()}
    try:
        with loading(locator, AttributeError):
            return timm.create_model(name, **{"num_classes": 0, "dynamic_img_size": True, **parts})
    except InputError as error:
        if "dynamic_img_size" not in error.what:
            raise
        what = f"{name} has no patch tokens for images of any size"
        raise InputError(what, where=locator.where, fix=_CHOOSE) from error


def _part(value: Any) -> Any:
    """A part that is asked for by name, else the value as it is."""
    if not isinstance(value, str) or value not in NAMED:
        return value
    module, _, attribute = NAMED[value].partition(":")
    return getattr(importlib.import_module(module), attribute)
