"""Dense tokens in the joint space: what becomes of the last transformer block.

A vision-language model is trained so that one pooled vector lies near its text. Four ways to have a vector per
patch in the same space, from the block that comes last (x are the tokens that enter it, q, k and v their
projections after its first norm, one set per head, s = 1 / sqrt(head width)):

``value``   MaskCLIP (Zhou et al., ECCV 2022, section 3.2): query and key are dropped, attention becomes the value
            at every token for itself, ``out(v)``. What the pooled token gathers is a convex mean of such values.
``qq+kk``   SCLIP (Wang et al., ECCV 2024, section 3.2, correlative self-attention): ``a = softmax(s q q^T) +
            softmax(s k k^T)``, a sum and not a mean; residual and feed-forward part stay as they are:
            ``y = x + out(a v)``, ``y + ffn(y)``.
``qq``      ClearCLIP (Lan et al., ECCV 2024, section 3.3): ``out(softmax(s q q^T) v)``; the residual carries the
            noise of dense CLIP maps and is dropped, and so is the feed-forward part.
``layers``  the sum of the outputs of all blocks, as the paper of ProZS fuses them for its decoder (section 3.3),
            here sent on through the final norm and projection to be comparable with text.

The class token, where a model has one, takes part in the attention as a key, as in SCLIP and ClearCLIP; callers
drop its row from the result. The final norm, pooling head and projection are the caller's, see each family.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F

Method = Literal["value", "qq+kk", "qq", "layers"]
METHODS: tuple[Method, ...] = get_args(Method)

Map = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class LastBlock:
    """The parts of a pre-norm transformer block; each maps float [b, n, width] to the same shape.

    Attributes:
        heads: Number of attention heads.
        norm: Norm before attention.
        q: Query projection of normed tokens, with bias, heads side by side.
        k: Key projection, likewise.
        v: Value projection, likewise.
        out: Output projection of attention, with layer scale where the model has one.
        feed_forward: Second norm and feed-forward part, with layer scale, without the residual.
    """

    heads: int
    norm: Map
    q: Map
    k: Map
    v: Map
    out: Map
    feed_forward: Map


def dense_tokens(method: Method, states: Sequence[torch.Tensor], block: LastBlock) -> torch.Tensor:
    """Tokens in place of the last block's output, ready for the final norm.

    Args:
        method: How, see above.
        states: Float [b, n, width] each: the input of the first block, then the output of every block.
        block: The last block; its input is ``states[-2]``.

    Returns:
        Float [b, n, width].
    """
    if method == "layers":
        return sum_layers(states)
    x = states[-2]
    normed = block.norm(x)
    if method == "value":
        return block.out(block.v(normed))
    v = _split(block.v(normed), block.heads)
    mixed = attend_alike(_split(block.q(normed), block.heads), v)
    if method == "qq":
        return block.out(_join(mixed))
    y = x + block.out(_join(mixed + attend_alike(_split(block.k(normed), block.heads), v)))
    return y + block.feed_forward(y)


def sum_layers(states: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sum over the outputs of all blocks, float [b, n, width] (the paper, section 3.3); the input is left out."""
    return sum(states[2:], states[1])


def attend_alike(r: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """``softmax(r r^T / sqrt(dh)) v``: every token gathers from the tokens that are like it.

    Args:
        r: Queries or keys, float [b, heads, n, dh].
        v: Values, float [b, heads, n, dh].

    Returns:
        Float [b, heads, n, dh].
    """
    return F.scaled_dot_product_attention(r, r, v)


def _split(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[b, n, width] to [b, heads, n, width / heads]."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def _join(x: torch.Tensor) -> torch.Tensor:
    """[b, heads, n, dh] to [b, n, heads * dh]."""
    return x.transpose(1, 2).flatten(2)
