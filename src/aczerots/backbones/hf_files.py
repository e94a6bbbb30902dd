"""What transformers' own folders hold: configuration, weights, tokenizer, image statistics; checked before use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aczerots.backbones.preprocess import Statistics
from aczerots.errors import InputError

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt", "spiece.model", "tokenizer.model", "tokenizer_config.json")
SPECIAL_TOKENS = ("special_tokens_map.json", "added_tokens.json")
VISION = ("config.json", "model-*-of-*.safetensors", *WEIGHTS, *PREPROCESSING)
USED = (*VISION, *TOKENIZER, *SPECIAL_TOKENS)
"""All files that can change an embedding, of images and of images and text; nothing else is downloaded or hashed."""

VISION_ONLY = {
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
    "vit": "ViTModel",
}
"""Class in transformers of the models without text that can help, by ``model_type`` of the configuration."""


def read_config(folder: Path, where: str) -> dict[str, Any]:
    """``config.json`` of a folder, a JSON object."""
    return _read_json(folder / "config.json", where)


def check_weights(folder: Path, where: str) -> None:
    """Refuse a folder without weights in a format that cannot run code."""
    if not any((folder / name).is_file() for name in WEIGHTS):
        fix = "Pickled weights are never loaded; look for a conversion on the hub: hf:ID@refs/pr/NUMBER"
        raise InputError("has no weights in safetensors format", where=where, fix=fix)


def check_tokenizer(folder: Path, where: str) -> None:
    """Refuse a folder without a tokenizer."""
    if (folder / "tokenizer.json").is_file():
        if "model" not in _read_json(folder / "tokenizer.json", where):
            raise InputError("tokenizer.json holds no tokenizer", where=where)
        return
    single = any((folder / name).is_file() for name in ("spiece.model", "tokenizer.model"))
    if not single and not all((folder / name).is_file() for name in ("vocab.json", "merges.txt")):
        fix = "Put tokenizer.json, spiece.model, or vocab.json and merges.txt, beside the weights"
        raise InputError("has no tokenizer", where=where, fix=fix)


def image_statistics(folder: Path, where: str, default: Statistics) -> Statistics:
    """What images are normalised with, as the folder says, else ``default``; ``where`` is its locator, for messages."""
    path = next((p for p in (folder / name for name in PREPROCESSING) if p.is_file()), None)
    facts = {} if path is None else _read_json(path, where)
    inner = facts.get("image_processor", facts)
    facts = inner if isinstance(inner, dict) else facts
    if facts.get("do_normalize") is False:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean, std = facts.get("image_mean", default[0]), facts.get("image_std", default[1])
    if not (_is_rgb(mean) and _is_rgb(std) and min(std) > 0):
        raise InputError("image_mean and image_std must be three numbers each, the latter above zero", where=path)
    return mean, std


def _is_rgb(values: object) -> bool:
    return isinstance(values, list | tuple) and len(values) == 3 and all(isinstance(v, float | int) for v in values)


def _read_json(path: Path, where: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        fix = "Give a folder written by save_pretrained"
        raise InputError(f"has no {path.name}", where=where, fix=fix) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} cannot be read: {error}", where=where) from error
    if not isinstance(data, dict):
        raise InputError(f"{path.name} is not a JSON object", where=where)
    return data
