"""The two ways of MUSK's transformer, image and text, for its published weights.

MUSK (Xiang et al. 2025, "A vision-language foundation model for precision oncology", Nature) is a BEiT-3 (Wang et al.,
"Image as a Foreign Language", CVPR 2023, figure 2): every block has one set of weights for image tokens (A) and one
for text tokens (B). Blocks are those of Magneto (Wang et al. 2022, "Foundation Transformers", figure 2): a further
norm before the output projection of attention and before the second linear layer. Names and shapes of the tensors are
those of the published checkpoint; an image or a text alone meets A or B only, so each tower takes its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import cast, final

import torch
import torch.nn.functional as F
from torch import nn

from aczerots.backbones.dense import ImageTower, LastBlock, block_states, resize_positions
from aczerots.backbones.vit import count_blocks

FIRST_POSITION = 2
"""Positions are counted from here, as in fairseq."""


@final
class Ways(nn.Module):
    """The same part for image tokens (A) and text tokens (B)."""

    def __init__(self, image: nn.Module, text: nn.Module) -> None:
        super().__init__()
        self.A, self.B = image, text

    def of(self, way: str) -> nn.Module:
        """The part for ``A`` or ``B``."""
        return cast("nn.Module", getattr(self, way))

    def forward(self, x: torch.Tensor, way: str) -> torch.Tensor:
        """Tokens of one way to the part's result."""
        return cast("torch.Tensor", self.of(way)(x))


def linear_ways(inside: int, outside: int) -> Ways:
    """A linear layer for each way."""
    return Ways(nn.Linear(inside, outside), nn.Linear(inside, outside))


def norm_ways(width: int) -> Ways:
    """A layer norm for each way."""
    return Ways(nn.LayerNorm(width), nn.LayerNorm(width))


@final
class Attention(nn.Module):
    """Self-attention with a norm before its output projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = linear_ways(width, width)
        self.v_proj = linear_ways(width, width)
        self.q_proj = linear_ways(width, width)
        self.out_proj = linear_ways(width, width)
        self.inner_attn_ln = norm_ways(width)

    def out(self, x: torch.Tensor, way: str) -> torch.Tensor:
        """Heads side by side [b, n, width] to the output of attention."""
        return cast("torch.Tensor", self.out_proj(self.inner_attn_ln(x, way), way))

    def forward(self, x: torch.Tensor, way: str) -> torch.Tensor:
        """Float [b, n, width] to the same."""
        heads = (proj(x, way).unflatten(2, (self.heads, -1)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        q, k, v = (part.transpose(1, 2) for part in heads)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2), way)


@final
class FeedForward(nn.Module):
    """Two linear layers with a GELU and a norm between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.ffn_layernorm = nn.LayerNorm(hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float [..., width] to the same."""
        return cast("torch.Tensor", self.fc2(self.ffn_layernorm(F.gelu(self.fc1(x)))))


@final
class Block(nn.Module):
    """Pre-norm transformer block of two ways."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.self_attn_layer_norm = norm_ways(width)
        self.ffn = Ways(FeedForward(width, hidden), FeedForward(width, hidden))
        self.final_layer_norm = norm_ways(width)

    def feed_forward(self, x: torch.Tensor, way: str) -> torch.Tensor:
        """Second norm and feed-forward part, without the residual."""
        return cast("torch.Tensor", self.ffn(self.final_layer_norm(x, way), way))

    def forward(self, x: torch.Tensor, way: str) -> torch.Tensor:
        """Float [b, n, width] to the same."""
        x = x + self.self_attn(self.self_attn_layer_norm(x, way), way)
        return x + self.feed_forward(x, way)

    def parts(self) -> LastBlock:
        """What the dense methods need of it, for image tokens."""
        attn = self.self_attn
        return LastBlock(
            heads=attn.heads,
            norm=self.self_attn_layer_norm.of("A"),
            q=attn.q_proj.of("A"),
            k=attn.k_proj.of("A"),
            v=attn.v_proj.of("A"),
            out=lambda x: attn.out(x, "A"),
            feed_forward=lambda x: self.feed_forward(x, "A"),
        )


@final
class VisionEmbedding(nn.Module):
    """Patches to tokens, with a class token; the mask token of pre-training is part of the checkpoint."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.mask_token = nn.Parameter(torch.empty(1, 1, width))
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Float [b, 3, h, w] to [b, 1 + gh * gw, width]."""
        tokens = cast("torch.Tensor", self.proj(pixels)).flatten(2).mT
        return torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)


@final
class Encoder(nn.Module):
    """Positions, blocks and final norm."""

    def __init__(self, width: int, depth: int, hidden: int, places: tuple[int, int]) -> None:
        super().__init__()
        self.embed_positions = Ways(nn.Embedding(places[0], width), nn.Embedding(places[1], width))
        self.layers = nn.ModuleList(Block(width, max(width // 64, 1), hidden) for _ in range(depth))
        self.layer_norm = norm_ways(width)

    def positions(self, way: str) -> torch.Tensor:
        """All position embeddings of a way, float [n, width]; those that are never used are left out."""
        return cast("torch.Tensor", self.embed_positions.of(way).weight)[FIRST_POSITION:]

    def states(self, x: torch.Tensor, way: str) -> list[torch.Tensor]:
        """The tokens that enter the first block, positions added, and those that leave each."""
        return block_states(x, (partial(layer, way=way) for layer in self.layers))


@final
class Beit(nn.Module):
    """Embeddings of both ways and the encoder."""

    def __init__(self, vision: VisionEmbedding, text: nn.Embedding, encoder: Encoder) -> None:
        super().__init__()
        self.text_embed = text
        self.vision_embed = vision
        self.encoder = encoder


@final
class Musk(nn.Module):
    """Both towers into the joint space.

    Args:
        beit3: The transformer.
        patch: Pixels per patch, each way.
        side: Patches per side of the image that it was trained at.
    """

    def __init__(self, beit3: Beit, patch: int, side: int) -> None:
        super().__init__()
        width = beit3.text_embed.embedding_dim
        self.patch, self.side, self.width = patch, side, width
        self.beit3 = beit3
        self.language_head = nn.Linear(width, width, bias=False)
        self.vision_head = nn.Linear(width, width, bias=False)
        self.logit_scale = nn.Parameter(torch.empty(()))

    def image_tower(self) -> ImageTower:
        """The image tower for the dense methods."""
        last = cast("Block", self.beit3.encoder.layers[-1]).parts()
        return ImageTower(self.image_states, last, self.project, 1, self.width, self.patch, self.side * self.patch)

    def image_states(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Image tokens that enter the first block and leave each, float [b, 1 + gh * gw, width].

        Position embeddings are interpolated to gh x gw, as MUSK's own loader does for other image sizes.
        """
        gh, gw = (length // self.patch for length in pixels.shape[-2:])
        encoder = self.beit3.encoder
        places = resize_positions(encoder.positions("A"), (self.side, self.side), (gh, gw))
        return encoder.states(self.beit3.vision_embed(pixels) + places, "A")

    def project(self, tokens: torch.Tensor) -> torch.Tensor:
        """Image tokens that left the last block to the joint space, float [..., width]."""
        return cast("torch.Tensor", self.vision_head(self.beit3.encoder.layer_norm(tokens, "A")))

    def text(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids [n, length] of texts of one length, without pads, to embeddings [n, d], of any length."""
        encoder = self.beit3.encoder
        states = encoder.states(self.beit3.text_embed(ids) + encoder.positions("B")[: ids.shape[1]], "B")
        return cast("torch.Tensor", self.language_head(encoder.layer_norm(states[-1][:, 0], "B")))


def musk_shaped_as(state: Mapping[str, torch.Tensor]) -> Musk:
    """The model without values, of the shapes of a checkpoint; 64 channels per head.

    Raises:
        KeyError: A tensor that tells a shape is missing.
    """
    vocabulary, width = state["beit3.text_embed.weight"].shape
    patch = state["beit3.vision_embed.proj.weight"].shape[-1]
    places = tuple(len(state[f"beit3.encoder.embed_positions.{way}.weight"]) for way in "AB")
    hidden = len(state["beit3.encoder.layers.0.ffn.A.fc1.weight"])
    depth = count_blocks(state, "beit3.encoder.layers.")
    encoder = Encoder(width, depth, hidden, (places[0], places[1]))
    beit = Beit(VisionEmbedding(width, patch), nn.Embedding(vocabulary, width), encoder)
    return Musk(beit, patch, round((places[0] - FIRST_POSITION - 1) ** 0.5))
