"""CLIP models of transformers (CLIP, PLIP) as two towers, and what they have in common with SigLIP."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from aczerots.backbones.aligned import Towers
from aczerots.backbones.dense import DenseTower, LastBlock
from aczerots.backbones.preprocess import Statistics


def clip_towers(model: Any, tokenizer: Any, statistics: Statistics) -> Towers:
    """Towers of a ``transformers.CLIPModel``."""
    vision, text = model.vision_model, model.text_model
    return Towers(
        module=model,
        image=hf_image_tower(model, lambda tokens: model.visual_projection(vision.post_layernorm(tokens)), prefix=1),
        text=lambda ids: model.text_projection(text(ids).pooler_output),
        tokens=partial(token_ids, tokenizer),
        context=model.config.text_config.max_position_embeddings,
        dim=model.config.projection_dim,
        statistics=statistics,
    )


def hf_image_tower(
    model: Any, alone: Callable[[torch.Tensor], torch.Tensor], prefix: int, gathers: bool = False
) -> DenseTower:
    """The image tower of a CLIP or SigLIP; the arguments after ``model`` are attributes of :class:`DenseTower`."""
    vision, config = model.vision_model, model.config.vision_config
    layer = vision.encoder.layers[-1]
    attention = layer.self_attn

    def states(pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        out = vision(pixels, interpolate_pos_encoding=True, output_hidden_states=True)
        hidden: tuple[torch.Tensor, ...] = out.hidden_states
        return hidden

    last = LastBlock(
        heads=attention.num_heads,
        norm=layer.layer_norm1,
        q=attention.q_proj,
        k=attention.k_proj,
        v=attention.v_proj,
        out=attention.out_proj,
        feed_forward=lambda y: layer.mlp(layer.layer_norm2(y)),
    )
    return DenseTower(states, last, alone, prefix, config.hidden_size, config.patch_size, config.image_size, gathers)


def token_ids(tokenizer: Any, sentence: str) -> list[int]:
    """Token ids of a text with the start and end tokens of its model, never truncated."""
    ids: list[int] = tokenizer(sentence, truncation=False, padding=False, verbose=False)["input_ids"]
    return ids
