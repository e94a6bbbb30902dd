"""Image towers of open_clip as the dense methods need them.

For a class token or a mean of tokens, a single token goes through the final norm and the projection; for the attention
pool of CoCa (Yu et al. 2022) through the pool's own projections of value and output first.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import torch

from aczerots.backbones.dense import (
    ImageTower,
    LastBlock,
    block_states,
    gather_alone,
    project_part,
    resize_positions,
)
from aczerots.backbones.timm_blocks import timm_tower
from aczerots.errors import InputError


def image_tower(model: Any, where: str) -> ImageTower:
    """The image tower of an open_clip model.

    Raises:
        InputError: A kind that has no patch tokens, or blocks that the dense methods are not defined for.
    """
    visual = model.visual
    if isinstance(visual, importlib.import_module("open_clip.timm_model").TimmModel):
        return timm_tower(visual.trunk, visual.head, where)
    if not isinstance(visual, importlib.import_module("open_clip.transformer").VisionTransformer):
        fix = "Choose a model with a vision transformer, as ViT-B-16"
        raise InputError(f"its image tower ({type(visual).__name__}) has no patch tokens", where=where, fix=fix)
    if visual.attn_pool is not None and visual.attn_pool_contrastive is not None:
        fix = "Choose a CoCa model with one pool, as coca_ViT-B-32"
        raise InputError("its two attention pools are not supported", where=where, fix=fix)
    return ImageTower(
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
