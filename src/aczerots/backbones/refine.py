"""A vision-only model helps: its patch affinities regularise the aligned features of a vision-language model.

After Lan et al., "ProxyCLIP" (ECCV 2024), section 3.3. With f_i the unit patch features of the helper, n patches:

    A_ij = f_i . f_j                                    cosine affinity
    B_ij = GAMMA (A_ij - BETA / n^2 sum_kl A_kl)        shifted by the image's own mean, scaled
    out_i = sum_j softmax_j(B_ij where B_ij >= 0) v_j   patches that are less alike than that are left out

There v are the values of the last block of CLIP; here they are the aligned vectors themselves, so that every
backbone can be refined, whatever is inside it. Both come before and after linear maps and one layer norm. A patch
is never left out of its own mean: without this a featureless image, where all affinities lie at the mean, would
have nothing to average. The result has the patches of the helper, which are usually the smaller ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import torch
import torch.nn.functional as F

from aczerots.backbones.base import Backbone, DenseFeatures
from aczerots.backbones.preprocess import Preprocessing, Statistics
from aczerots.backbones.wrapped import WrappedBackbone

BETA, GAMMA = 1.2, 3.0
"""Of ProxyCLIP, section 4.1."""

_ENTRIES = 2**26
"""Affinities held at once."""


@dataclass(frozen=True)
class HelperInfo:
    """Facts about a vision-only model that decide its patch features.

    Attributes:
        locator: What the user wrote.
        revision: Weights revision or content hash.
        stride: Pixels per patch, each way.
        dim: Dimension of the patch features.
    """

    locator: str
    revision: str
    stride: int
    dim: int

    @property
    def hash(self) -> str:
        """First 16 hex digits of a SHA-256 of all that decides what refining with it does."""
        facts = f"{self.revision}|{self.stride}|{self.dim}|{BETA}|{GAMMA}"
        return hashlib.sha256(facts.encode()).hexdigest()[:16]


@final
class Helper:
    """A frozen vision transformer of any library that knows which patches look alike.

    Args:
        model: The model, frozen, in evaluation mode.
        patches: (normalised pixels float [b, 3, h, w], number of patches n) -> patch tokens [b, n, c] in rows.
        info: Facts about it.
        statistics: What images are normalised with.
    """

    def __init__(
        self,
        model: Any,
        patches: Callable[[torch.Tensor, int], torch.Tensor],
        info: HelperInfo,
        statistics: Statistics,
    ) -> None:
        self._model, self._patches, self.info = model, patches, info
        self._preprocess = Preprocessing(statistics, info.stride)

    def to(self, device: torch.device | str) -> Helper:
        """Moves the weights, like a torch module, and returns this same object."""
        self._model.to(device)
        return self

    @torch.no_grad()
    def encode_patches(self, images: torch.Tensor) -> torch.Tensor:
        """Patch tokens after the final norm, from one pass over the whole image at its own scale.

        Args:
            images: RGB uint8 [b, 3, h, w].

        Returns:
            Float32 [b, c, ceil(h / stride), ceil(w / stride)], of any length, on the device of ``images``.
        """
        pixels = self._preprocess(images, next(self._model.parameters()).device)
        gh, gw = (side // self.info.stride for side in pixels.shape[-2:])
        patches = self._patches(pixels, gh * gw).mT.float()
        return patches.reshape(*patches.shape[:2], gh, gw).to(images.device)


def refine(inner: Backbone, helper: Helper) -> WrappedBackbone:
    """A backbone whose aligned features are regularised by a helper; its hash covers both.

    Dense features have the helper's stride. ``aligned`` is regularised and of unit length; ``layers`` are resampled
    (bilinear) and otherwise as they are.

    Args:
        inner: Has the joint space.
        helper: Knows which patches look alike.
    """

    def encode(images: torch.Tensor) -> DenseFeatures:
        features, patches = inner.encode_image(images), helper.encode_patches(images)
        size = (patches.shape[2], patches.shape[3])
        aligned, layers = (_resampled(t, size) for t in (features.aligned, features.layers))
        step = max(1, _ENTRIES // (size[0] * size[1]) ** 2)
        parts = zip(torch.split(aligned, step), torch.split(patches, step), strict=True)
        return DenseFeatures(torch.cat([F.normalize(gather_alike(z, f), dim=1) for z, f in parts]), layers)

    facts = helper.info
    info = replace(inner.info, stride=facts.stride, refined_by=facts.hash, helper=facts.locator)
    return WrappedBackbone(inner, info, encode, lambda device: refine(inner.to(device), helper.to(device)))


def gather_alike(values: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Replace every vector by the weighted mean of those whose patches look like its own (top of this file).

    Args:
        values: Float [b, d, gh, gw].
        features: Features that say what looks alike, float [b, c, gh, gw], any length.

    Returns:
        Float [b, d, gh, gw].
    """
    with torch.autocast(values.device.type, enabled=False):  # a rounded cosine may fall on the other side of 0
        f = F.normalize(features.float().flatten(2), dim=1)
        affinity = f.mT @ f
        shifted = GAMMA * (affinity - BETA * affinity.mean((1, 2), keepdim=True))
        itself = torch.eye(shifted.shape[1], dtype=torch.bool, device=shifted.device)
        weights = shifted.masked_fill((shifted < 0) & ~itself, float("-inf")).softmax(dim=2)
        return (values.float().flatten(2) @ weights.mT).reshape(values.shape)


def _resampled(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Float [b, c, gh, gw] with other numbers of rows and columns over the same image, bilinear."""
    if (x.shape[2], x.shape[3]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
