"""A plain vision transformer whose tensors are named and shaped as timm names and shapes them.

Dosovitskiy et al., "An Image is Worth 16x16 Words" (ICLR 2021), pre-norm blocks. Several published pathology
models (CONCH, KEEP) keep such a trunk in their checkpoint; with this file their weights load without timm.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import cast, final

import torch
import torch.nn.functional as F
from torch import nn

from aczerots.backbones.dense import DenseTower, LastBlock, block_states, project_part, resize_positions

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
    """Self-attention with one matrix for queries, keys and values, and optionally a norm before the last one."""

    def __init__(self, width: int, heads: int, inner_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.norm: nn.Module = nn.LayerNorm(width) if inner_norm else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, allowed: torch.Tensor | None = None) -> torch.Tensor:
        """Float [b, n, width] to the same; ``allowed`` bool [n, n] says which tokens each token sees."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).movedim(2, 0).transpose(2, 3)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def out(self, x: torch.Tensor) -> torch.Tensor:
        """Heads side by side [b, n, width] to the output of attention."""
        return cast("torch.Tensor", self.proj(self.norm(x)))


@final
class Block(nn.Module):
    """Attention and feed-forward part, each with its norm before and its residual around.

    Args:
        width: Channels of a token.
        hidden: Channels inside the feed-forward part.
        scaled: Whether the outputs of both parts have a factor per channel.
        inner_norm: Whether both parts have a further norm before their last linear layer.
        epsilon: Of the norms before the parts.
    """

    def __init__(
        self, width: int, hidden: int, *, scaled: bool = False, inner_norm: bool = False, epsilon: float = 1e-5
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, epsilon)
        self.attn = Attention(width, max(width // 64, 1), inner_norm)  # 64 channels per head
        self.ls1: nn.Module = LayerScale(width) if scaled else nn.Identity()
        self.norm2 = nn.LayerNorm(width, epsilon)
        norm = {"norm": nn.LayerNorm(hidden)} if inner_norm else {}
        parts = {"fc1": nn.Linear(width, hidden), "act": nn.GELU(), **norm, "fc2": nn.Linear(hidden, width)}
        self.mlp = nn.Sequential(OrderedDict(parts))
        self.ls2: nn.Module = LayerScale(width) if scaled else nn.Identity()

    def forward(self, x: torch.Tensor, allowed: torch.Tensor | None = None) -> torch.Tensor:
        """Float [b, n, width] to the same; ``allowed`` bool [n, n] says which tokens each token sees."""
        x = x + self.ls1(self.attn(self.norm1(x), allowed))
        return x + self.feed_forward(x)

    def feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        """The feed-forward part with its norm and scale, without its residual."""
        return cast("torch.Tensor", self.ls2(self.mlp(self.norm2(x))))

    def parts(self) -> LastBlock:
        """What the dense methods need of it."""
        qkv = self.attn.qkv
        q, k, v = (partial(project_part, index, qkv.weight, qkv.bias) for index in range(3))
        return LastBlock(
            heads=self.attn.heads,
            norm=self.norm1,
            q=q,
            k=k,
            v=v,
            out=lambda x: cast("torch.Tensor", self.ls1(self.attn.out(x))),
            feed_forward=self.feed_forward,
        )


@final
class VisionTransformer(nn.Module):
    """The trunk: image to tokens.

    Args:
        width: Channels of a token.
        depth: Blocks.
        hidden: Channels inside the feed-forward parts.
        patch: Pixels per patch, each way.
        side: Patches per side of the images that it was trained on.
        scaled: Whether the blocks have a factor per channel.
    """

    def __init__(self, width: int, depth: int, hidden: int, patch: int, side: int, scaled: bool) -> None:
        super().__init__()
        self.patch, self.side, self.width = patch, side, width
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + side * side, width))
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv2d(3, width, patch, patch), rows=nn.Flatten(2)))
        self.blocks = nn.ModuleList(Block(width, hidden, scaled=scaled, epsilon=EPSILON) for _ in range(depth))
        self.norm = nn.LayerNorm(width, EPSILON)

    @classmethod
    def shaped_as(cls, state: Mapping[str, torch.Tensor], prefix: str) -> VisionTransformer:
        """A trunk without values, of the shapes that a checkpoint has under a prefix (KeyError if it lacks them)."""
        width, _, patch, _ = state[f"{prefix}patch_embed.proj.weight"].shape
        return cls(
            width=width,
            depth=count_blocks(state, f"{prefix}blocks."),
            hidden=len(state[f"{prefix}blocks.0.mlp.fc1.weight"]),
            patch=patch,
            side=round((state[f"{prefix}pos_embed"].shape[1] - 1) ** 0.5),
            scaled=f"{prefix}blocks.0.ls1.gamma" in state,
        )

    def tower(self, alone: Callable[[torch.Tensor], torch.Tensor], gathers: bool = False) -> DenseTower:
        """The trunk for the dense methods; the arguments are attributes of :class:`DenseTower`."""
        last = cast("Block", self.blocks[-1]).parts()
        side = self.side * self.patch
        return DenseTower(self.states, last, alone, 1, self.width, self.patch, side, gathers)

    def states(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Tokens that enter the first block and leave each.

        Args:
            pixels: Normalised float [b, 3, gh * patch, gw * patch].

        Returns:
            Float [b, 1 + gh * gw, width] each, class token first; position embeddings are interpolated to gh x gw.
        """
        gh, gw = (length // self.patch for length in pixels.shape[-2:])
        tokens = self.patch_embed(pixels).mT
        cls = self.cls_token.expand(len(tokens), -1, -1)
        return block_states(torch.cat([cls, tokens], dim=1) + self.positions(gh, gw), self.blocks)

    def positions(self, gh: int, gw: int) -> torch.Tensor:
        """Position embeddings of gh x gw patches, float [1 + gh * gw, width]; with antialiasing, as timm does."""
        return resize_positions(self.pos_embed[0], (self.side, self.side), (gh, gw), antialias=True)


def count_blocks(state: Mapping[str, torch.Tensor], prefix: str) -> int:
    """Number of blocks: one more than the highest number that follows the prefix; 0 without any."""
    numbers = {name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)}
    return max((int(n) for n in numbers if n.isdecimal()), default=-1) + 1


def rename_parts(name: str, ours: str, theirs: str, parts: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Names in a checkpoint of a tensor ``name`` of one of our blocks, which start with ``ours``; other names are left.

    Before the number of a block the checkpoint has ``theirs``. ``parts`` has the parts of a block, as ``attn.qkv.``,
    and the names of those that each is made of.
    """
    if not name.startswith(ours):
        return (name,)
    number, _, tensor = name.removeprefix(ours).partition(".")
    part = next(part for part in parts if tensor.startswith(part))
    return tuple(f"{theirs}{number}.{other}{tensor.removeprefix(part)}" for other in parts[part])
