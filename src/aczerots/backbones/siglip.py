"""SigLIP models of transformers (SigLIP, SigLIP 2 at a fixed size, MedSigLIP): two towers in one joint space.

SigLIP pools its image tokens by attention with a learned query (Zhai et al., "Sigmoid Loss for Language Image
Pre-Training", ICCV 2023; the head is MAP of Zhai et al., CVPR 2022): ``h = out(sum_i a_i v(x_i))``, ``h + mlp(norm
(h))``. The weights a_i sum to 1 over the tokens, so a token is taken into the joint space as if it were alone there:
``h_i = out(v(x_i))``, ``h_i + mlp(norm(h_i))``. An image of one patch has exactly its pooled embedding.

Methods: ``value`` (the default) leaves the encoder as it is, since here the head and not the last block does the
pooling; ``qq+kk``, ``qq`` and ``layers`` replace the last block's output as in dense.py, before the final norm and
the head. There is no class token.

The score that was trained is ``scale * cosine + bias`` through a sigmoid. Scale is kappa. The bias is the same
for every class and drops out of a softmax over classes, so it is not used.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from aczerots.backbones.aligned import Towers
from aczerots.backbones.clip import hf_block, token_ids
from aczerots.backbones.dense import Method, dense_tokens, sum_layers

DEFAULT: Method = "value"
MEAN = STD = (0.5, 0.5, 0.5)
"""RGB statistics that SigLIP scales images with, in [0, 1]."""


def siglip_towers(model: Any, tokenizer: Any, method: Method) -> Towers:
    """Towers of a ``transformers.SiglipModel``."""
    vision, text = model.vision_model, model.text_model
    block = hf_block(vision.encoder.layers[-1])
    context: int = model.config.text_config.max_position_embeddings

    def dense(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        states = vision(pixels, interpolate_pos_encoding=True, output_hidden_states=True).hidden_states
        tokens = states[-1] if method == "value" else dense_tokens(method, states, block)
        return each_alone(vision.head, vision.post_layernorm(tokens)), sum_layers(states)

    def embed(ids: torch.Tensor) -> torch.Tensor:
        # Trained on texts padded to the context without a mask; the last position, padding or not, is the pooled one.
        padded = F.pad(ids, (0, context - ids.shape[1]), value=tokenizer.pad_token_id)
        pooled: torch.Tensor = text(padded).pooler_output
        return pooled

    return Towers(
        module=model,
        dense=dense,
        pooled=lambda pixels: vision(pixels).pooler_output,
        text=embed,
        tokens=lambda sentence: token_ids(tokenizer, sentence),
        context=context,
    )


def each_alone(head: Any, x: torch.Tensor) -> torch.Tensor:
    """Every token through the pooling head as if it were the only one.

    Args:
        head: ``SiglipMultiheadAttentionPoolingHead``.
        x: Tokens after the final norm, float [b, n, width].

    Returns:
        Float [b, n, width] in the joint space.
    """
    attention = head.attention
    weight, bias = attention.in_proj_weight.chunk(3)[2], attention.in_proj_bias.chunk(3)[2]
    h = attention.out_proj(F.linear(x, weight, bias))
    out: torch.Tensor = h + head.mlp(head.layernorm(h))
    return out
