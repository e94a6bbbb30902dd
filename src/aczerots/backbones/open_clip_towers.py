"""Image towers of open_clip as the dense methods need them.

A token goes alone through what pools and projects the tokens: for a class token or a mean the final norm and the
projection; for the attention pool of CoCa (Yu et al. 2022) the pool's own value and output projections, since a
softmax over one token is 1 for every query.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from aczerots.backbones.dense import LastBlock
from aczerots.backbones.timm_blocks import ImageTower, timm_tower
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
        pooled=partial(_pooled, visual),
        prefix=1,
        gathers=visual.attn_pool is not None,
        width=visual.conv1.out_channels,
        stride=visual.patch_size[0],
        side=visual.image_size[0],
    )


def _states(visual: Any, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Tokens entering the first block and leaving each; positions are interpolated (bicubic) to the grid."""
    tokens = visual.conv1(pixels)
    positions = visual.positional_embedding
    if tuple(tokens.shape[-2:]) != tuple(visual.grid_size):
        grid = positions[1:].T.reshape(1, -1, *visual.grid_size)
        size = (tokens.shape[-2], tokens.shape[-1])
        grid = F.interpolate(grid, size=size, mode="bicubic", antialias=True)
        positions = torch.cat([positions[:1], grid.flatten(2)[0].T])
    cls = visual.class_embedding.expand(len(tokens), 1, -1)
    states = [visual.ln_pre(torch.cat([cls, tokens.flatten(2).mT], dim=1) + positions)]
    for block in visual.transformer.resblocks:
        states.append(block(states[-1]))
    return states


def _last(visual: Any, where: str) -> LastBlock:
    block = visual.transformer.resblocks[-1]
    if not isinstance(block, importlib.import_module("open_clip.transformer").ResidualAttentionBlock):
        fix = "Dense embeddings need plain transformer blocks, as in ViT-B-16"
        raise InputError("its image tower has no blocks of the kind needed", where=where, fix=fix)
    attn = block.attn

    def part(index: int, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, attn.in_proj_weight.chunk(3)[index], attn.in_proj_bias.chunk(3)[index])

    return LastBlock(
        heads=attn.num_heads,
        norm=block.ln_1,
        q=partial(part, 0),
        k=partial(part, 1),
        v=partial(part, 2),
        out=lambda x: block.ls_1(attn.out_proj(x)),
        feed_forward=lambda x: block.ls_2(block.mlp(block.ln_2(x))),
    )


def _alone(visual: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Tokens [b, n, width] into the joint space [b, n, d], each as if it were all that is pooled."""
    if visual.attn_pool is not None:
        attn = visual.attn_pool.attn
        bias = attn.in_proj_bias.chunk(3)[2]
        weight = attn.in_proj_weight.chunk(3)[2] if attn.v_proj_weight is None else attn.v_proj_weight
        tokens = attn.out_proj(F.linear(visual.attn_pool.ln_k(tokens), weight, bias))
    out: torch.Tensor = visual.ln_post(tokens) @ visual.proj
    return out


def _pooled(visual: Any, pixels: torch.Tensor) -> torch.Tensor:
    out = visual(pixels)
    pooled: torch.Tensor = out[0] if isinstance(out, tuple) else out
    return pooled
