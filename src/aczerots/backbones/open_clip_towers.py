"""Image towers of open_clip as the dense methods need them.

For a class token or a mean of tokens, a single token goes through the final norm and the projection; for the attention
pool of CoCa (Yu et al. 2022) through the pool's own projections of value and output first.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from aczerots.backbones.dense import (
    DenseTower,
    LastBlock,
    block_states,
    gather_alone,
    project_part,
    resize_positions,
)
from aczerots.errors import InputError


def image_tower(model: Any, where: str) -> DenseTower:
    """The image tower of an open_clip model; refuses kinds without patch tokens or with other blocks."""
    visual = model.visual
    if isinstance(visual, importlib.import_module("open_clip.timm_model").TimmModel):
        return _timm_tower(visual.trunk, visual.head, where)
    if not isinstance(visual, importlib.import_module("open_clip.transformer").VisionTransformer):
        fix = "Choose a model with a vision transformer, as ViT-B-16"
        raise InputError(f"its image tower ({type(visual).__name__}) has no patch tokens", where=where, fix=fix)
    if visual.attn_pool is not None and visual.attn_pool_contrastive is not None:
        fix = "Choose a CoCa model with one pool, as coca_ViT-B-32"
        raise InputError("its two attention pools are not supported", where=where, fix=fix)
    return DenseTower(
        states=partial(_states, visual),
        last=_last(visual, where),
        alone=partial(_alone, visual),
        prefix=1,
        gathers=visual.attn_pool is not None,
        width=visual.conv1.out_channels,
        stride=visual.patch_size[0],
        side=visual.image_size[0],
    )


def _states(visual: Any, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Tokens that enter the first block and leave each; position embeddings are interpolated to gh x gw."""
    tokens = visual.conv1(pixels)
    gh, gw = tokens.shape[-2:]
    positions = resize_positions(visual.positional_embedding, tuple(visual.grid_size), (gh, gw), antialias=True)
    cls = visual.class_embedding.expand(len(tokens), 1, -1)
    first = visual.ln_pre(torch.cat([cls, tokens.flatten(2).mT], dim=1) + positions)
    return block_states(first, visual.transformer.resblocks)


def _last(visual: Any, where: str) -> LastBlock:
    block = visual.transformer.resblocks[-1]
    if not isinstance(block, importlib.import_module("open_clip.transformer").ResidualAttentionBlock):
        fix = "Dense embeddings need plain transformer blocks, as in ViT-B-16"
        raise InputError("its image tower has no blocks of the kind needed", where=where, fix=fix)
    attn = block.attn
    q, k, v = (partial(project_part, index, attn.in_proj_weight, attn.in_proj_bias) for index in range(3))
    return LastBlock(
        heads=attn.num_heads,
        norm=block.ln_1,
        q=q,
        k=k,
        v=v,
        out=lambda x: block.ls_1(attn.out_proj(x)),
        feed_forward=lambda x: block.ls_2(block.mlp(block.ln_2(x))),
    )


def _alone(visual: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Tokens [b, n, width] into the joint space [b, n, d], each as if it were all that is pooled."""
    if visual.attn_pool is not None:
        tokens = gather_alone(visual.attn_pool.attn, visual.attn_pool.ln_k(tokens))
    out: torch.Tensor = visual.ln_post(tokens) @ visual.proj
    return out


def _timm_tower(trunk: Any, head: Callable[[torch.Tensor], torch.Tensor], where: str) -> DenseTower:
    """A ``timm.models.VisionTransformer`` followed by a head; other models are refused.

    Args:
        trunk: The model; from here on it takes images of any size.
        head: What the library sends the trunk's output [b, d'] through.
        where: Locator, for messages.
    """
    last = _timm_block(trunk, where)
    _allow_any_size(trunk)

    def states(pixels: torch.Tensor) -> list[torch.Tensor]:
        return block_states(trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(pixels))), trunk.blocks)

    def alone(tokens: torch.Tensor) -> torch.Tensor:
        normed = trunk.norm(tokens)
        if trunk.attn_pool is not None:
            normed = trunk.attn_pool(normed.flatten(0, 1)[:, None]).reshape(*normed.shape[:2], -1)
        return head(trunk.head(trunk.fc_norm(normed)))

    return DenseTower(
        states=states,
        last=last,
        alone=alone,
        prefix=trunk.num_prefix_tokens,
        gathers=trunk.attn_pool is not None,
        width=trunk.embed_dim,
        stride=trunk.patch_embed.patch_size[0],
        side=trunk.patch_embed.img_size[0],
    )


def _allow_any_size(trunk: Any) -> None:
    """What ``dynamic_img_size=True`` sets when a ``VisionTransformer`` is built: positions follow the image."""
    layers: Any = importlib.import_module("timm.layers")
    if not trunk.dynamic_img_size:
        trunk.dynamic_img_size = True
        trunk.patch_embed.strict_img_size = False
        trunk.patch_embed.flatten = False
        trunk.patch_embed.output_fmt = layers.Format.NHWC


def _timm_block(trunk: Any, where: str) -> LastBlock:
    """The parts of the last block; refuses attention that the dense methods are not defined for."""
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
