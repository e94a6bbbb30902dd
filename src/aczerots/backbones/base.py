"""What a backbone is: a frozen vision-language model with dense features of images and text embeddings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Protocol, runtime_checkable

import torch

from aczerots.config import Precision

_NAMES = ("locator", "helper")
_LATER = ("input_size", "large", "precision", "refined_by", "stain")


@dataclass(frozen=True)
class BackboneInfo:
    """Facts about a backbone that decide its embeddings; their hash keys the cache.

    Attributes:
        locator: What the user wrote, for example ``embedded`` or ``hf:vinid/plip``.
        revision: Weights revision or content hash.
        method: How dense embeddings are made, for example ``value``.
        dim: Dimension d of the joint space.
        layer_dim: Dimension d_v of the layer tokens.
        stride: Pixels per feature cell, each way.
        logit_scale: kappa, the factor on cosines that the model was trained with.
        mpp: Micrometres per pixel it was trained at, None if unknown.
        input_size: Side in pixels of the images it was trained on, None if it has no such side.
        large: What is done with larger images, ``windows`` or ``whole``; empty if nothing needs to be done.
        precision: Floating-point format of the forward pass: ``fp32``, ``bf16`` or ``fp16``.
        refined_by: Hash of the helper whose patch affinities regularise ``aligned``; empty if none.
        helper: Locator of that helper; empty if none.
        stain: Hash of the stain of a slide that all images count as; empty where each is normalised by itself.
    """

    locator: str
    revision: str
    method: str
    dim: int
    layer_dim: int
    stride: int
    logit_scale: float
    mpp: float | None = None
    input_size: int | None = None
    large: str = ""
    precision: Precision = "fp32"
    refined_by: str = ""
    helper: str = ""
    stain: str = ""

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of all facts but the locators.

        Facts that came later are left out at their default, so that hashes from before they existed stay valid.
        """
        later = {f.name: f.default for f in fields(self) if f.name in _LATER}
        facts = {k: v for k, v in asdict(self).items() if k not in _NAMES and (k not in later or v != later[k])}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class DenseFeatures:
    """Dense features of a batch of b images of h x w pixels; gh = ceil(h / stride), gw likewise.

    Attributes:
        aligned: Float [b, d, gh, gw], unit length along d, in the joint space with text.
        layers: Float [b, d_v, gh, gw], tokens of the layers, for the decoder.
    """

    aligned: torch.Tensor
    layers: torch.Tensor

    def to(self, device: torch.device | str) -> DenseFeatures:
        """The same features on another device."""
        return DenseFeatures(self.aligned.to(device), self.layers.to(device))


@runtime_checkable
class Backbone(Protocol):
    """A frozen vision-language model. Implementations are final; wrap, do not subclass."""

    @property
    def info(self) -> BackboneInfo:
        """Facts that decide the embeddings."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def encode_image(self, images: torch.Tensor) -> DenseFeatures:
        """Dense features, float32, of RGB uint8 [b, 3, h, w], on the device of the images."""

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """Text embeddings, float32 [n, d], unit length, in the joint space; on the backbone's device."""

    def to(self, device: torch.device | str) -> Backbone:
        """The same backbone on another device."""
