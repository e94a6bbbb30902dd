"""One backbone class for the families whose parts are our own modules or those of a kept library.

A family gives two functions, image to tokens and token ids to embeddings; everything that does not depend on the
family is here: preprocessing, large images, parting of long texts, batches, unit length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import final

import torch
import torch.nn.functional as F
from torch import nn

from aczerots.backbones.base import BackboneInfo, DenseFeatures
from aczerots.backbones.sentences import split_text
from aczerots.backbones.windows import Large, encode_large, whole_cells

TEXT_BATCH = 32
"""Texts of equal length that are encoded together."""


@dataclass(frozen=True)
class Pixels:
    """How a model wants its images.

    Attributes:
        side: Side of the input that it was trained at, in pixels.
        mean: RGB mean that is taken off, in [0, 1].
        std: RGB standard deviation that is divided by.
        large: What becomes of larger images.
    """

    side: int
    mean: Sequence[float]
    std: Sequence[float]
    large: Large = "windows"


@dataclass(frozen=True)
class Towers:
    """The two towers of a family.

    Attributes:
        module: Holds all weights; frozen.
        dense: Normalised pixels [b, 3, gh * stride, gw * stride] to tokens in the joint space [b, gh * gw, d], of
            any length, and summed layers [b, gh * gw, d_v], row by row.
        pooled: Normalised pixels [b, 3, side, side] to the model's own image embeddings [b, d], of any length.
        text: Token ids int64 [n, length] of texts of one length to embeddings [n, d], of any length.
        tokens: A text to its token ids, start and end included, never cut.
        context: Most token ids that a text may have.
    """

    module: nn.Module
    dense: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    pooled: Callable[[torch.Tensor], torch.Tensor]
    text: Callable[[torch.Tensor], torch.Tensor]
    tokens: Callable[[str], list[int]]
    context: int


@final
class AlignedBackbone:
    """Two towers as a backbone.

    Args:
        towers: The family's part.
        pixels: How it wants its images.
        info: Facts about it.
    """

    def __init__(self, towers: Towers, pixels: Pixels, info: BackboneInfo) -> None:
        towers.module.eval().requires_grad_(False)
        self._towers, self._pixels, self._info = towers, pixels, info
        mean, std = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (pixels.mean, pixels.std))
        self._factor, self._shift = 1 / (255 * std), -mean / std

    @property
    def info(self) -> BackboneInfo:
        """Facts that decide the embeddings."""
        return self._info

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self._towers.module.parameters()).device

    def to(self, device: torch.device | str) -> AlignedBackbone:
        """Moves the weights, like a torch module, and returns this same object."""
        self._towers.module.to(device)
        return self

    @torch.no_grad()
    def encode_image(self, images: torch.Tensor) -> DenseFeatures:
        """Dense embeddings and summed layers.

        A side that is no multiple of the stride is resized (bicubic) up to the next, so that the cells cover the
        image evenly; the image keeps its scale. Images larger than the input go by windows or whole.

        Args:
            images: RGB uint8 [b, 3, h, w] on any device.

        Returns:
            ``aligned`` float32 [b, d, gh, gw], unit length along d; ``layers`` float32 [b, d_v, gh, gw], the sum
            of what leaves each block at the patch tokens. Both on the device of ``images``.
        """
        pixels = self._normalised(whole_cells(images.to(self.device).float(), self._info.stride))
        side, large = self._pixels.side, self._pixels.large
        grids = encode_large(pixels, self._dense, side=side, stride=self._info.stride, large=large)
        return grids.to(images.device)

    @torch.no_grad()
    def encode_pooled(self, images: torch.Tensor) -> torch.Tensor:
        """One embedding per image, as the model itself makes it for whole images.

        Args:
            images: RGB uint8 [b, 3, h, w]; other sides than the input's are resized to it (bicubic, antialiased).

        Returns:
            Float32 [b, d], unit length, on the device of ``images``.
        """
        pixels, side = images.to(self.device).float(), self._pixels.side
        if pixels.shape[-2:] != (side, side):
            pixels = F.interpolate(pixels, size=(side, side), mode="bicubic", antialias=True).clamp(0, 255)
        return F.normalize(self._towers.pooled(self._normalised(pixels)).float(), dim=-1).to(images.device)

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """RGB float [b, 3, h, w] in [0, 255], overwritten, with the statistics of the training images."""
        return pixels.mul_(self._factor.to(pixels.device)).add_(self._shift.to(pixels.device))

    def _dense(self, pixels: torch.Tensor) -> DenseFeatures:
        """DenseFeatures of one pass."""
        shape = [side // self._info.stride for side in pixels.shape[-2:]]
        aligned, layers = (t.mT.float().reshape(t.shape[0], t.shape[2], *shape) for t in self._towers.dense(pixels))
        return DenseFeatures(F.normalize(aligned, dim=1), layers.contiguous())

    @torch.no_grad()
    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """Text embeddings.

        A text longer than the context is never cut: it is parted at the sentence, clause or word border nearest
        to its middle until all pieces fit. Its embedding is the mean of the unit embeddings of the pieces,
        weighted by their numbers of tokens, scaled back to unit length.

        Args:
            sentences: n texts of any length.

        Returns:
            Float32 [n, d], unit length, on the device of the weights.
        """
        towers, device = self._towers, self.device
        pieces = [(i, towers.tokens(p)) for i, s in enumerate(sentences) for p in split_text(s, self._fits)]
        pieces.sort(key=lambda piece: len(piece[1]))  # stable; equal lengths need no padding
        total = torch.zeros(len(sentences), self._info.dim, device=device)
        for length, group in groupby(pieces, key=lambda piece: len(piece[1])):
            same = list(group)
            for batch in (same[k : k + TEXT_BATCH] for k in range(0, len(same), TEXT_BATCH)):
                pooled = towers.text(torch.tensor([ids for _, ids in batch], device=device))
                for (owner, _), unit in zip(batch, F.normalize(pooled.float(), dim=-1), strict=True):
                    total[owner] += unit * length  # one by one: adding in parallel has no fixed order
        return F.normalize(total, dim=-1)

    def _fits(self, text: str) -> bool:
        return len(self._towers.tokens(text)) <= self._towers.context
