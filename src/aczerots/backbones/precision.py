"""A backbone in another precision, or compiled: the same model, faster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F

from aczerots.backbones.base import Backbone, DenseFeatures
from aczerots.backbones.wrapped import WrappedBackbone
from aczerots.config import Precision
from aczerots.errors import SettingsError

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def with_precision(inner: Backbone, precision: Precision, compiled: bool) -> WrappedBackbone:
    """A backbone whose forward pass over images runs under autocast, compiled, or both. Texts, which are few, do not.

    Results are float32 and of unit length whatever the precision; their last digits differ, so the precision is
    part of the hash. Compiling is not: it changes the order of additions and nothing else.

    Args:
        inner: The backbone, with its weights in float32.
        precision: Format of matrix products; sums and norms stay in float32 as autocast decides.
        compiled: Compile the forward pass for the shapes that come (torch.compile); the first batch is slow.

    Raises:
        SettingsError: The built-in backbone in another precision than fp32; when it encodes, a forward pass that
            cannot be compiled on this machine.
    """
    if precision != "fp32" and inner.info.locator == "embedded":
        what = "the built-in backbone measures colours, which needs fp32"
        raise SettingsError(what, where="--precision", fix="Leave --precision out")
    reduced = _TYPES.get(precision)
    forward: Callable[[torch.Tensor], DenseFeatures] = inner.encode_image
    if compiled:
        forward = torch.compile(inner.encode_image)

    def encode(images: torch.Tensor) -> DenseFeatures:
        with torch.autocast(inner.device.type, dtype=reduced, enabled=reduced is not None):
            try:
                features = forward(images)
            except torch._dynamo.exc.BackendCompilerFailed as error:
                what = f"the backbone cannot be compiled here: {' '.join(str(error).split())[:200]}"
                raise SettingsError(what, where="--compile", fix="Leave --compile out") from error
        return DenseFeatures(F.normalize(features.aligned.float(), dim=1), features.layers.float())

    info = replace(inner.info, precision=precision)
    return WrappedBackbone(inner, info, encode, lambda device: with_precision(inner.to(device), precision, compiled))
