"""A vision-only model helps: its patch affinities regularise the grid of a vision-language model.

After Lan et al., "ProxyCLIP" (ECCV 2024), section 3.3. With f_i the unit patch features of the helper, n cells:

    A_ij = f_i . f_j                                    cosine affinity
    B_ij = GAMMA (A_ij - BETA / n^2 sum_kl A_kl)        shifted by the image's own mean, scaled
    out_i = sum_j softmax_j(B_ij where B_ij >= 0) v_j   cells that are less alike than that are left out

There v are the values of the last block of CLIP; here they are the aligned vectors themselves, so that every
backbone can be refined, whatever is inside it. Both come before and after linear maps and one layer norm. A cell
is never left out of its own mean: without this a featureless image, where all affinities lie at the mean, would
have nothing to average. The grid of the result is that of the helper, which is usually the finer one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, final, runtime_checkable

import torch
import torch.nn.functional as F

from aczerots.backbones.base import Backbone, BackboneInfo, DenseFeatures

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
        stride: Pixels per grid cell, each way.
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


@runtime_checkable
class Helper(Protocol):
    """A frozen vision-only model. Implementations are final."""

    @property
    def info(self) -> HelperInfo:
        """Facts that decide the features."""

    def encode_patches(self, images: torch.Tensor) -> torch.Tensor:
        """Patch features, float32 [b, c, gh, gw] of RGB uint8 [b, 3, h, w] on the same device; gh = ceil(h / stride).

        Any length; only their directions are used.
        """

    def to(self, device: torch.device | str) -> Helper:
        """The same helper on another device."""


@final
class RefinedBackbone:
    """A backbone whose aligned grid is regularised by a helper; text is untouched.

    Args:
        inner: Has the joint space.
        helper: Knows which patches look alike.
    """

    def __init__(self, inner: Backbone, helper: Helper) -> None:
        self._inner, self._helper = inner, helper
        facts = helper.info
        self._info = replace(inner.info, stride=facts.stride, refined_by=facts.hash, helper=facts.locator)

    @property
    def info(self) -> BackboneInfo:
        """Facts that decide the embeddings; the hash covers both models, the stride is the helper's."""
        return self._info

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._inner.device

    def to(self, device: torch.device | str) -> RefinedBackbone:
        """The same backbone on another device."""
        return RefinedBackbone(self._inner.to(device), self._helper.to(device))

    @torch.no_grad()
    def encode_image(self, images: torch.Tensor) -> DenseFeatures:
        """DenseFeatures on the cells of the helper.

        Args:
            images: RGB uint8 [b, 3, h, w].

        Returns:
            ``aligned`` float32 [b, d, gh, gw], regularised, unit length along d; ``layers`` float32 [b, d_v, gh,
            gw], resampled (bilinear) and otherwise as they are. Both on the device of ``images``.
        """
        grids, features = self._inner.encode_image(images), self._helper.encode_patches(images)
        cells = (features.shape[2], features.shape[3])
        aligned, layers = (_resampled(t, cells) for t in (grids.aligned, grids.layers))
        step = max(1, _ENTRIES // (cells[0] * cells[1]) ** 2)
        parts = zip(torch.split(aligned, step), torch.split(features, step), strict=True)
        return DenseFeatures(torch.cat([F.normalize(gather_alike(z, f), dim=1) for z, f in parts]), layers)

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """Text embeddings of the inner backbone, float32 [n, d], unit length."""
        return self._inner.encode_text(sentences)


def gather_alike(values: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Every cell becomes the weighted mean of the cells that look like it; see the top of this file.

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


def _resampled(x: torch.Tensor, cells: tuple[int, int]) -> torch.Tensor:
    """[b, c, gh, gw] on other cells of the same image, bilinear."""
    if (x.shape[2], x.shape[3]) == cells:
        return x
    return F.interpolate(x, size=cells, mode="bilinear", align_corners=False)
