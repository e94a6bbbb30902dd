"""A backbone in another precision, or compiled: the same model, faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

import torch
import torch.nn.functional as F

from aczerots.backbones.base import Backbone, BackboneInfo, DenseFeatures
from aczerots.config import Precision
from aczerots.errors import SettingsError

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@final
class PrecisionBackbone:
    """Runs the forward pass over images under autocast, compiled, or both. Texts, which are few, stay in fp32.

    Results are float32 and of unit length whatever the precision; their last digits differ, so the precision is
    part of the hash. Compiling is not: it changes the order of additions and nothing else.

    Args:
        inner: The backbone, with its weights in float32.
        precision: Format of matrix products; sums and norms stay in float32 as autocast decides.
        compiled: Compile the forward pass for the shapes that come (torch.compile); the first batch is slow.

    Raises:
        SettingsError: The built-in backbone in another precision than fp32.
    """

    def __init__(self, inner: Backbone, precision: Precision, compiled: bool) -> None:
        if precision != "fp32" and inner.info.locator == "embedded":
            fix = "Leave --precision out"
            raise SettingsError(
                "the built-in backbone measures colours, which needs fp32", where="--precision", fix=fix
            )
        self._inner, self._precision, self._compiled = inner, precision, compiled
        self._info = replace(inner.info, precision=precision)
        self._encode: Callable[[torch.Tensor], DenseFeatures] = inner.encode_image
        if compiled:
            self._encode = torch.compile(inner.encode_image)

    @property
    def info(self) -> BackboneInfo:
        """Facts that decide the embeddings."""
        return self._info

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._inner.device

    def to(self, device: torch.device | str) -> PrecisionBackbone:
        """The same backbone on another device."""
        return PrecisionBackbone(self._inner.to(device), self._precision, self._compiled)

    @torch.no_grad()
    def encode_image(self, images: torch.Tensor) -> DenseFeatures:
        """Dense embeddings.

        Args:
            images: RGB uint8 [b, 3, h, w]; the result is on the same device, float32.

        Raises:
            SettingsError: The forward pass cannot be compiled on this machine.
        """
        reduced = _TYPES.get(self._precision)
        with torch.autocast(self.device.type, dtype=reduced, enabled=reduced is not None):
            try:
                grids = self._encode(images)
            except torch._dynamo.exc.BackendCompilerFailed as error:
                what = f"the backbone cannot be compiled here: {' '.join(str(error).split())[:200]}"
                raise SettingsError(what, where="--compile", fix="Leave --compile out") from error
        return DenseFeatures(F.normalize(grids.aligned.float(), dim=1), grids.layers.float())

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """Text embeddings of the inner backbone, float32 [n, d], unit length."""
        return self._inner.encode_text(sentences)
