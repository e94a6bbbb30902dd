"""CLIP models of transformers (CLIP, PLIP): from parts of the model to two towers in one joint space.

Dense tokens are those of dense.py in place of the last block's output, then the model's final norm and projection:
``visual_projection(post_layernorm(tokens))``. The default is ``value``: what the class token gathers by attention,
before the same norm and projection, is a convex mean of just such values, so they lie where the text does, and it is
the one method that neither doubles the attention (``qq+kk``) nor mixes neighbours at all, which keeps the edges of
small structures; see docs/backbones.md. The class token is a key in the attention and is dropped from the result.
"""

from __future__ import annotations

from typing import Any

import torch

from aczerots.backbones.aligned import Towers
from aczerots.backbones.dense import LastBlock, Method, dense_tokens, sum_layers

DEFAULT: Method = "value"
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""RGB statistics of CLIP's training images, in [0, 1] (published with Radford et al. 2021)."""

MAX_LOGIT_SCALE = 100.0
"""Radford et al. 2021, section 2.5: the factor on cosines is clipped here."""


def clip_towers(model: Any, tokenizer: Any, method: Method) -> Towers:
    """Towers of a ``transformers.CLIPModel``."""
    vision, text = model.vision_model, model.text_model
    block = hf_block(vision.encoder.layers[-1])

    def dense(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        states = vision(pixels, interpolate_pos_encoding=True, output_hidden_states=True).hidden_states
        tokens = dense_tokens(method, states, block)[:, 1:]
        return model.visual_projection(vision.post_layernorm(tokens)), sum_layers(states)[:, 1:]

    return Towers(
        module=model,
        dense=dense,
        pooled=lambda pixels: model.visual_projection(vision(pixels).pooler_output),
        text=lambda ids: model.text_projection(text(ids).pooler_output),
        tokens=lambda sentence: token_ids(tokenizer, sentence),
        context=model.config.text_config.max_position_embeddings,
    )


def hf_block(layer: Any) -> LastBlock:
    """The parts of a transformer block as transformers names them in CLIP and SigLIP."""
    attention = layer.self_attn
    return LastBlock(
        heads=attention.num_heads,
        norm=layer.layer_norm1,
        q=attention.q_proj,
        k=attention.k_proj,
        v=attention.v_proj,
        out=attention.out_proj,
        feed_forward=lambda y: layer.mlp(layer.layer_norm2(y)),
    )


def token_ids(tokenizer: Any, sentence: str) -> list[int]:
    """Token ids of a text with the start and end tokens of its model, never truncated."""
    ids: list[int] = tokenizer(sentence, truncation=False, padding=False, verbose=False)["input_ids"]
    return ids
