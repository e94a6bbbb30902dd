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

The class token, where a model has one, takes part in the attention as a key, as in SCLIP and ClearCLIP; its row is
dropped from the result. Every token then goes through the model's final norm, pooling head and projection by itself,
as if it were the only one that is pooled.

The default is ``value``: a convex mean of just such values is what the class token gathers, so they lie where the text
does, and it is the one method that neither doubles the attention (``qq+kk``) nor mixes neighbours, which keeps the
edges of small structures (docs/backbones.md). Where attention with a learned query pools the tokens, that attention
comes last: ``value`` then drops its query and key and leaves the blocks as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, get_args

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


@dataclass(frozen=True)
class DenseTower:
    """A vision transformer as the dense methods need it.

    Attributes:
        states: Normalised pixels [b, 3, gh * stride, gw * stride] to the tokens that enter the first block and
            those that leave each, float [b, prefix + gh * gw, width].
        last: Parts of the last block.
        alone: Tokens [b, n, width] that leave the last block to the joint space [b, n, d], of any length, each as if
            it were all that is pooled.
        prefix: Tokens before the patches: class and register tokens.
        width: Channels of a token.
        stride: Pixels per patch, each way.
        side: Side in pixels of the images it was trained on.
        gathers: Whether attention with learned queries pools the tokens; it is then the attention that comes last.
    """

    states: Callable[[torch.Tensor], Sequence[torch.Tensor]]
    last: LastBlock
    alone: Map
    prefix: int
    width: int
    stride: int
    side: int
    gathers: bool = False

    def dense(self, method: Method, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens in the joint space [b, gh * gw, d], of any length, and summed layers [b, gh * gw, width]."""
        states = self.states(pixels)
        unchanged = method == "value" and self.gathers
        tokens = states[-1] if unchanged else dense_tokens(method, states, self.last)
        return self.alone(tokens[:, self.prefix :]), sum_layers(states)[:, self.prefix :]


def block_states(x: torch.Tensor, blocks: Iterable[Map]) -> list[torch.Tensor]:
    """The tokens that enter the first block and those that leave each, float [b, n, width]."""
    return list(accumulate(blocks, lambda tokens, block: block(tokens), initial=x))


def project_part(index: int, weight: torch.Tensor, bias: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
    """Queries (0), keys (1) or values (2) of tokens, heads side by side, from the joint weights of the three.

    Float [..., channels] to [..., width]; ``weight`` is [3 * width, channels], ``bias`` [3 * width] or None.
    """
    return F.linear(x, weight.chunk(3)[index], None if bias is None else bias.chunk(3)[index])


def gather_alone(attention: Any, x: torch.Tensor) -> torch.Tensor:
    """What one query gathers from each token if that token were the only one, float [b, n, channels] to [b, n, width].

    The softmax over one token is 1 for every query, so that only the projections of value and output of
    ``attention``, a ``torch.nn.MultiheadAttention``, are left.
    """
    joint = attention.in_proj_weight
    weight = attention.v_proj_weight if joint is None else joint.chunk(3)[2]
    out: torch.Tensor = attention.out_proj(F.linear(x, weight, attention.in_proj_bias.chunk(3)[2]))
    return out


def resize_positions(positions: torch.Tensor, old: tuple[int, int], new: tuple[int, int], **how: bool) -> torch.Tensor:
    """Position embeddings for another number of patches, interpolated (bicubic).

    Args:
        positions: Float [1 + rows * columns, width], class token first.
        old: Rows and columns of patches that they are for.
        new: Rows and columns of the result, which is float [1 + rows * columns, width].
        how: Options of torch's interpolation; libraries differ in ``antialias``.
    """
    if old == new:
        return positions
    image = positions[1:].T.reshape(1, -1, *old)
    image = F.interpolate(image, size=new, mode="bicubic", align_corners=False, **how)
    return torch.cat([positions[:1], image.flatten(2)[0].T])


def dense_tokens(method: Method, states: Sequence[torch.Tensor], block: LastBlock) -> torch.Tensor:
    """Tokens in place of the last block's output, ready for the final norm.

    Args:
        method: One of the four above.
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
    q, k, v = (_split(part(normed), block.heads) for part in (block.q, block.k, block.v))
    mixed = F.scaled_dot_product_attention(q, q, v)  # every token gathers from those that are like it
    if method == "qq":
        return block.out(_join(mixed))
    y = x + block.out(_join(mixed + F.scaled_dot_product_attention(k, k, v)))
    return y + block.feed_forward(y)


def sum_layers(states: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sum over the outputs of all blocks, float [b, n, width] (the paper, section 3.3); the input is left out."""
    return sum(states[2:], states[1])


def _split(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[b, n, width] to [b, heads, n, width / heads]."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def _join(x: torch.Tensor) -> torch.Tensor:
    """[b, heads, n, dh] to [b, n, heads * dh]."""
    return x.transpose(1, 2).flatten(2)
