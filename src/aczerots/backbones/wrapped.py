"""A backbone around another one: images are encoded in another way, texts as before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch

from aczerots.backbones.base import Backbone, BackboneInfo, DenseFeatures

Device = torch.device | str


@final
class WrappedBackbone:
    """A backbone with another way of encoding images.

    Args:
        inner: Encodes texts, and says where it computes.
        info: Facts that decide the embeddings.
        encode: RGB uint8 [b, 3, h, w] to dense features on the same device, float32.
        move: Makes the same wrapped backbone on another device.
    """

    def __init__(
        self,
        inner: Backbone,
        info: BackboneInfo,
        encode: Callable[[torch.Tensor], DenseFeatures],
        move: Callable[[Device], WrappedBackbone],
    ) -> None:
        self._inner, self._info, self._encode, self._move = inner, info, encode, move

    @property
    def info(self) -> BackboneInfo:
        """Facts that decide the embeddings."""
        return self._info

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._inner.device

    def to(self, device: Device) -> WrappedBackbone:
        """The same backbone on another device."""
        return self._move(device)

    @torch.no_grad()
    def encode_image(self, images: torch.Tensor) -> DenseFeatures:
        """Dense features of RGB uint8 [b, 3, h, w], on the same device, float32."""
        return self._encode(images)

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """Text embeddings of the inner backbone, float32 [n, d], unit length."""
        return self._inner.encode_text(sentences)
