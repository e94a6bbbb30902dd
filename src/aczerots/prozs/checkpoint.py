"""A fitted model in one safetensors file; everything needed to use it stands in the header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from aczerots.backbones.base import BackboneInfo
from aczerots.errors import InputError
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import build_model, locate_preset
from aczerots.storage.files import write_bytes_atomic
from aczerots.taxonomy import Taxonomy
from aczerots.version import __version__

_LATER = ("scorer.bank.weight",)
_FORMAT = 1
_RENAMED = {"scorer.gamma": "scorer.calibration_bias"}
"""Tensors of older files by the name that they have now."""


class ModelCard(BaseModel):
    """Header of a model file.

    Attributes:
        format: Version of the file layout.
        version: Version of the package that wrote it.
        preset: Name of the preset.
        taxonomy: Classes with the descriptions used.
        backbone: Facts of the backbone.
        backbone_hash: Their hash; checked against the backbone found at use.
        tile_size: Side of the window in pixels.
        mpp: Resolution of tiles, None for "pixels as they are".
        rounds: Active-learning round it comes from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    version: str = __version__
    preset: str
    taxonomy: Taxonomy
    backbone: BackboneInfo
    backbone_hash: str
    tile_size: int
    mpp: float | None = None
    rounds: int = 0


def save_model(path: Path, model: ProZS, card: ModelCard) -> None:
    """Write model and card; complete or not at all.

    Raises:
        StorageError: The file cannot be written.
    """
    from safetensors.torch import save

    tensors = {k: v.detach().contiguous() for k, v in model.state_dict().items()}
    write_bytes_atomic(path, save(tensors, metadata={"aczerots": card.model_dump_json()}))


def load_model(path: Path) -> tuple[ProZS, ModelCard]:
    """Read a model written by :func:`save_model`.

    Raises:
        InputError: Missing, damaged, not ours, or of another format version.
    """
    from safetensors import SafetensorError, safe_open

    fix = "Give a model.safetensors written by aczerots"
    try:
        with safe_open(path, framework="pt") as f:
            header = f.metadata() or {}
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118  # safe_open is no mapping
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot be read as a model: {error}", where=path, fix=fix) from error
    if "aczerots" not in header:
        raise InputError("is a safetensors file, but not one of our models", where=path, fix=fix)
    return _rebuild(path, header["aczerots"], tensors)


def _rebuild(path: Path, header: str, tensors: dict[str, torch.Tensor]) -> tuple[ProZS, ModelCard]:
    """Model and card from header and tensors."""
    try:
        found = json.loads(header).get("format")
        if found != _FORMAT:
            raise InputError(
                f"has format {found}, this version reads {_FORMAT}",
                where=path,
                fix="Use the version that wrote it",
            )
        card = ModelCard.model_validate_json(header)
        seen = torch.from_numpy(card.taxonomy.seen)
        model = build_model(locate_preset(card.preset), card.backbone, tensors["text"], seen, seed=0)
        tensors = {_RENAMED.get(name, name): value for name, value in tensors.items()}
        own = model.state_dict()
        # Models written before this buffer was there always counted visual prototypes.
        tensors |= {k: own[k] for k in _LATER if k in own and k not in tensors}
        model.load_state_dict(tensors)
    except (ValidationError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"damaged model: {error}", where=path, fix="Fit the model again") from error
    return model.eval(), card
