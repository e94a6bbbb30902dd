"""One backbone class for all families that are read from published weights.

A family gives two functions, image to tokens and token ids to embeddings. What does not depend on the family is here:
facts, preprocessing, large images, splitting long texts, batches, unit length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, final

import torch
import torch.nn.functional as F

from aczerots.backbones.base import BackboneInfo, DenseFeatures
from aczerots.backbones.dense import DenseTower
from aczerots.backbones.locator import Locator
from aczerots.backbones.preprocess import CLIP, Preprocessing, Statistics
from aczerots.backbones.tokenizers import split_text
from aczerots.backbones.windows import encode_large

TEXT_BATCH = 32
"""Texts of equal length that are encoded together."""

MAX_LOGIT_SCALE = 100.0
"""Radford et al. 2021, section 2.5: the factor on cosines is clipped here."""


@dataclass(frozen=True)
class Towers:
    """The two towers of a family.

    Attributes:
        module: Holds all weights, frozen, and ``logit_scale``, the logarithm of the factor on cosines.
        image: The image tower.
        text: Token ids int64 [n, length] of texts of one length to embeddings [n, d], of any length.
        tokens: A text to its token ids, start and end included, never cut.
        context: Most token ids that a text may have.
        dim: Dimension d of the joint space.
        statistics: What its images are normalised with.
        max_scale: Where the factor on cosines was clipped in training.
    """

    module: Any
    image: DenseTower
    text: Callable[[torch.Tensor], torch.Tensor]
    tokens: Callable[[str], list[int]]
    context: int
    dim: int
    statistics: Statistics = CLIP
    max_scale: float = MAX_LOGIT_SCALE


@final
class AlignedBackbone:
    """Two towers as a backbone.

    Args:
        towers: The family's part.
        locator: What the user wrote; without a method it is ``value``, without a treatment of large images
            ``windows``.
        revision: Commit or content hash of the weights.
    """

    def __init__(self, towers: Towers, locator: Locator, revision: str) -> None:
        towers.module.eval().requires_grad_(False)
        self._towers, self._image = towers, towers.image
        self._method, self._large = locator.method or "value", locator.large or "windows"
        self._preprocess = Preprocessing(towers.statistics, self._image.stride)
        self._info = BackboneInfo(
            locator=locator.text,
            revision=revision,
            method=self._method,
            dim=towers.dim,
            layer_dim=self._image.width,
            stride=self._image.stride,
            logit_scale=min(towers.module.logit_scale.exp().max().item(), towers.max_scale),
            input_size=self._image.side,
            large=self._large,
        )

    @property
    def info(self) -> BackboneInfo:
        """Facts that decide the embeddings."""
        return self._info

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(self._towers.module.parameters()).device
        return device

    def to(self, device: torch.device | str) -> AlignedBackbone:
        """Moves the weights, like a torch module, and returns this same object."""
        self._towers.module.to(device)
        return self

    @torch.no_grad()
    def encode_image(self, images: torch.Tensor) -> DenseFeatures:
        """Dense embeddings and summed layers.

        A side that is no multiple of the stride is resized (bicubic) up to the next, so that patches cover the image
        evenly; the image keeps its scale. Images larger than the input go by windows or whole.

        Args:
            images: RGB uint8 [b, 3, h, w] on any device.

        Returns:
            ``aligned`` float32 [b, d, gh, gw], unit length along d; ``layers`` float32 [b, d_v, gh, gw], the sum
            of what leaves each block at the patch tokens. Both on the device of ``images``.
        """
        pixels, image = self._preprocess(images, self.device), self._image
        features = encode_large(pixels, self._encode, side=image.side, stride=image.stride, large=self._large)
        return features.to(images.device)

    def _encode(self, pixels: torch.Tensor) -> DenseFeatures:
        """Dense features of normalised pixels [b, 3, gh * stride, gw * stride] in one pass."""
        shape = [side // self._image.stride for side in pixels.shape[-2:]]
        tokens = self._image.dense(self._method, pixels)
        aligned, layers = (t.mT.float().reshape(t.shape[0], t.shape[2], *shape) for t in tokens)
        return DenseFeatures(F.normalize(aligned, dim=1), layers.contiguous())

    @torch.no_grad()
    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """Text embeddings float32 [n, d], unit length, on the device of the weights; a long text is never cut.

        A text longer than the context is split at the sentence, clause or word border nearest to its middle until all
        pieces fit. Its embedding is the mean of the unit embeddings of the pieces, weighted by their numbers of tokens,
        scaled back to unit length.
        """
        towers, device = self._towers, self.device
        pieces = [(i, towers.tokens(p)) for i, s in enumerate(sentences) for p in split_text(s, self._fits)]
        pieces.sort(key=lambda piece: len(piece[1]))  # stable; equal lengths need no padding
        total = torch.zeros(len(sentences), towers.dim, device=device)
        for length, group in groupby(pieces, key=lambda piece: len(piece[1])):
            same = list(group)
            for batch in (same[k : k + TEXT_BATCH] for k in range(0, len(same), TEXT_BATCH)):
                embedded = towers.text(torch.tensor([ids for _, ids in batch], device=device))
                for (owner, _), unit in zip(batch, F.normalize(embedded.float(), dim=-1), strict=True):
                    total[owner] += unit * length  # one by one: adding in parallel has no fixed order
        return F.normalize(total, dim=-1)

    def _fits(self, text: str) -> bool:
        return len(self._towers.tokens(text)) <= self._towers.context
