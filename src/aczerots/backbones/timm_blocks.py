"""timm's vision transformers seen as the dense methods need them: states, last block, tokens alone through the head."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from aczerots.backbones.dense import ImageTower, LastBlock, block_states, project_part
from aczerots.errors import InputError


def timm_tower(trunk: Any, head: Callable[[torch.Tensor], torch.Tensor], where: str) -> ImageTower:
    """A ``timm.models.VisionTransformer`` followed by a head.

    Args:
        trunk: The model; from here on it takes images of any size.
        head: What the library sends the trunk's output [b, d'] through.
        where: Locator, for messages.

    Raises:
        InputError: It is no plain vision transformer.
    """
    last = timm_block(trunk, where)
    allow_any_size(trunk)

    def alone(tokens: torch.Tensor) -> torch.Tensor:
        normed = trunk.norm(tokens)
        if trunk.attn_pool is not None:
            normed = trunk.attn_pool(normed.flatten(0, 1)[:, None]).reshape(*normed.shape[:2], -1)
        return head(trunk.head(trunk.fc_norm(normed)))

    return ImageTower(
        states=partial(timm_states, trunk),
        last=last,
        alone=alone,
        prefix=trunk.num_prefix_tokens,
        gathers=trunk.attn_pool is not None,
        width=trunk.embed_dim,
        stride=trunk.patch_embed.patch_size[0],
        side=trunk.patch_embed.img_size[0],
    )


def allow_any_size(trunk: Any) -> None:
    """What ``dynamic_img_size=True`` sets when a ``VisionTransformer`` is built: positions follow the image."""
    layers: Any = importlib.import_module("timm.layers")
    if not trunk.dynamic_img_size:
        trunk.dynamic_img_size = True
        trunk.patch_embed.strict_img_size = False
        trunk.patch_embed.flatten = False
        trunk.patch_embed.output_fmt = layers.Format.NHWC


def timm_states(trunk: Any, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Tokens entering the first block and leaving each, float [b, prefix + n, width]."""
    return block_states(trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(pixels))), trunk.blocks)


def timm_block(trunk: Any, where: str) -> LastBlock:
    """The parts of the last block.

    Raises:
        InputError: Its attention has parts that the dense methods are not defined for.
    """
    vit: Any = importlib.import_module("timm.models.vision_transformer")
    block = trunk.blocks[-1] if isinstance(trunk, vit.VisionTransformer) and len(trunk.blocks) else None
    if not isinstance(block, vit.Block) or not isinstance(block.attn, vit.Attention) or block.attn.gate is not None:
        kind = type(trunk).__name__
        fix = "Dense embeddings need plain transformer blocks, as in ViT-B-16"
        raise InputError(f"its image tower ({kind}) has no blocks of the kind needed", where=where, fix=fix)
    attn = block.attn

    def part(index: int, norm: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        heads = project_part(index, attn.qkv.weight, attn.qkv.bias, x)
        return norm(heads.reshape(*x.shape[:-1], attn.num_heads, -1)).flatten(-2)

    return LastBlock(
        heads=attn.num_heads,
        norm=block.norm1,
        q=partial(part, 0, attn.q_norm),
        k=partial(part, 1, attn.k_norm),
        v=partial(part, 2, torch.nn.Identity()),
        out=lambda x: block.ls1(attn.proj(attn.norm(x))),
        feed_forward=lambda x: block.ls2(block.mlp(block.norm2(x))),
    )
