"""SigLIP models of transformers (SigLIP, SigLIP 2 at a fixed size, MedSigLIP): two towers in one joint space.

SigLIP pools its image tokens by attention with a learned query (Zhai et al., "Sigmoid Loss for Language Image
Pre-Training", ICCV 2023; the head is MAP of Zhai et al., CVPR 2022): ``h = out(sum_i a_i v(x_i))``, ``h + mlp(norm
(h))``. The weights a_i sum to 1 over the tokens, so a token is taken into the joint space as if it were alone there:
``h_i = out(v(x_i))``, ``h_i + mlp(norm(h_i))``. An image of one patch has exactly its pooled embedding. There is no
class token.

The score that was trained is ``scale * cosine + bias`` through a sigmoid. Scale is kappa. The bias is the same
for every class and drops out of a softmax over classes, so it is not used.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from aczerots.backbones.aligned import Towers
from aczerots.backbones.clip import hf_image_tower, token_ids
from aczerots.backbones.dense import gather_alone
from aczerots.backbones.preprocess import Statistics


def siglip_towers(model: Any, tokenizer: Any, statistics: Statistics) -> Towers:
    """Towers of a ``transformers.SiglipModel``."""
    vision, text = model.vision_model, model.text_model
    context: int = model.config.text_config.max_position_embeddings

    def alone(tokens: torch.Tensor) -> torch.Tensor:
        h = gather_alone(vision.head.attention, vision.post_layernorm(tokens))
        out: torch.Tensor = h + vision.head.mlp(vision.head.layernorm(h))
        return out

    def embed(ids: torch.Tensor) -> torch.Tensor:
        # Trained on texts padded to the context without a mask; the last position, padding or not, is the pooled one.
        padded = F.pad(ids, (0, context - ids.shape[1]), value=tokenizer.pad_token_id)
        pooled: torch.Tensor = text(padded).pooler_output
        return pooled

    return Towers(
        module=model,
        image=hf_image_tower(model, alone, prefix=0, gathers=True),
        text=embed,
        tokens=partial(token_ids, tokenizer),
        context=context,
        dim=model.config.vision_config.hidden_size,
        statistics=statistics,
        max_scale=float("inf"),
    )
