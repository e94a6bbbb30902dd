"""A plain vision transformer whose tensors are named and shaped as timm names and shapes them.

Dosovitskiy et al., "An Image is Worth 16x16 Words" (ICLR 2021), pre-norm blocks. Several published pathology
models (CONCH, KEEP) keep such a trunk in their checkpoint; with this file their weights load without timm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import cast, final

import torch
import torch.nn.functional as F
from torch import nn

from aczerots.backbones.dense import ImageTower, LastBlock, block_states, project_part, resize_positions

EPSILON = 1e-6
"""Of the layer norms in the trunk, as timm sets it."""


@final
class LayerScale(nn.Module):
    """Factor per channel (Touvron et al. 2021, "Going deeper with Image Transformers", equation 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float [..., width] times the factors."""
        return x * self.gamma


@final
class Attention(nn.Module):
    """Self-attention with one matrix for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float [b, n, width] to the same."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).movedim(2, 0).transpose(2, 3)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return cast("torch.Tensor", self.proj(mixed.transpose(1, 2).flatten(2)))

    def part(self, index: int, x: torch.Tensor) -> torch.Tensor:
        """Queries (0), keys (1) or values (2) of tokens [b, n, width], heads side by side."""
        return project_part(index, self.qkv.weight, self.qkv.bias, x)


@final
class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float [..., width] to the same."""
        return cast("torch.Tensor", self.fc2(F.gelu(self.fc1(x))))


@final
class Block(nn.Module):
    """Attention and feed-forward part, each with its norm before and its residual around."""

    def __init__(self, width: int, heads: int, hidden: int, scaled: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, EPSILON)
        self.attn = Attention(width, heads)
        self.ls1: nn.Module = LayerScale(width) if scaled else nn.Identity()
        self.norm2 = nn.LayerNorm(width, EPSILON)
        self.mlp = Mlp(width, hidden)
        self.ls2: nn.Module = LayerScale(width) if scaled else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float [b, n, width] to the same."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.feed_forward(x)

    def feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        """The feed-forward part with its norm and scale, without its residual."""
        return cast("torch.Tensor", self.ls2(self.mlp(self.norm2(x))))

    def parts(self) -> LastBlock:
        """What the dense methods need of it."""
        q, k, v = (partial(self.attn.part, index) for index in range(3))
        return LastBlock(
            heads=self.attn.heads,
            norm=self.norm1,
            q=q,
            k=k,
            v=v,
            out=lambda x: cast("torch.Tensor", self.ls1(self.attn.proj(x))),
            feed_forward=self.feed_forward,
        )


@final
class PatchEmbedding(nn.Module):
    """A linear map of every patch of patch x patch pixels."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Float [b, 3, h, w] to [b, gh * gw, width], row by row."""
        return cast("torch.Tensor", self.proj(pixels)).flatten(2).mT


@final
class VisionTransformer(nn.Module):
    """The trunk: image to tokens.

    Args:
        width: Channels of a token.
        depth: Blocks.
        heads: Attention heads.
        hidden: Channels inside the feed-forward parts.
        patch: Pixels per patch, each way.
        side: Patches per side of the image that it was trained at.
        scaled: Whether the blocks have a factor per channel.
    """

    def __init__(self, width: int, depth: int, heads: int, hidden: int, patch: int, side: int, scaled: bool) -> None:
        super().__init__()
        self.patch, self.side, self.width = patch, side, width
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + side * side, width))
        self.patch_embed = PatchEmbedding(width, patch)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, scaled) for _ in range(depth))
        self.norm = nn.LayerNorm(width, EPSILON)

    @classmethod
    def shaped_as(cls, state: Mapping[str, torch.Tensor], prefix: str) -> VisionTransformer:
        """A trunk without values, of the shapes that a checkpoint has under a prefix; 64 channels per head.

        Raises:
            KeyError: A tensor that tells the shape is missing.
        """
        width, _, patch, _ = state[f"{prefix}patch_embed.proj.weight"].shape
        return cls(
            width=width,
            depth=count_blocks(state, f"{prefix}blocks."),
            heads=max(width // 64, 1),
            hidden=len(state[f"{prefix}blocks.0.mlp.fc1.weight"]),
            patch=patch,
            side=round((state[f"{prefix}pos_embed"].shape[1] - 1) ** 0.5),
            scaled=f"{prefix}blocks.0.ls1.gamma" in state,
        )

    def tower(self, alone: Callable[[torch.Tensor], torch.Tensor], gathers: bool = False) -> ImageTower:
        """The trunk for the dense methods; the arguments are attributes of :class:`ImageTower`."""
        last = cast("Block", self.blocks[-1]).parts()
        side = self.side * self.patch
        return ImageTower(self.states, last, alone, 1, self.width, self.patch, side, gathers)

    def states(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Tokens that enter the first block and leave each.

        Args:
            pixels: Normalised float [b, 3, gh * patch, gw * patch].

        Returns:
            Float [b, 1 + gh * gw, width] each, class token first; position embeddings are interpolated to gh x gw.
        """
        gh, gw = (length // self.patch for length in pixels.shape[-2:])
        tokens = self.patch_embed(pixels)
        cls = self.cls_token.expand(len(tokens), -1, -1)
        return block_states(torch.cat([cls, tokens], dim=1) + self.positions(gh, gw), self.blocks)

    def positions(self, gh: int, gw: int) -> torch.Tensor:
        """Position embeddings of gh x gw patches, float [1 + gh * gw, width]; with antialiasing, as timm does."""
        return resize_positions(self.pos_embed[0], (self.side, self.side), (gh, gw), antialias=True)


def count_blocks(state: Mapping[str, torch.Tensor], prefix: str) -> int:
    """Number of blocks: one more than the highest number that follows the prefix; 0 without any."""
    numbers = {name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)}
    return max((int(n) for n in numbers if n.isdecimal()), default=-1) + 1
