"""The parts of CONCH that make image and text embeddings, for its published weights.

CONCH is a CoCa model (Yu et al. 2022, "CoCa: Contrastive Captioners are Image-Text Foundation Models", figure 2;
Lu et al. 2024, "A visual-language foundation model for computational pathology", methods). Written from these
descriptions; names and shapes of the tensors are those of the published checkpoint. The caption decoder and its
pool make no embeddings and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast, final

import torch
import torch.nn.functional as F
from torch import nn

from aczerots.backbones.dense import ImageTower, gather_alone
from aczerots.backbones.vit import VisionTransformer, count_blocks

POOL_HEADS = 8
"""Attention heads of the pools, which shapes do not tell."""

PAD = 0
"""Token id of the padding."""


@final
class AttentionPool(nn.Module):
    """A learned query gathers tokens by cross-attention; dense tokens need it for one token at a time only.

    Args:
        width: Channels of query and output.
        context: Channels of the tokens.
    """

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, width))
        self.attn = nn.MultiheadAttention(width, POOL_HEADS, kdim=context, vdim=context, batch_first=True)
        self.ln_q = nn.LayerNorm(width)
        self.ln_k = nn.LayerNorm(context)

    def alone(self, tokens: torch.Tensor) -> torch.Tensor:
        """What the query gathers if each token is the only one, float [b, n, context] to [b, n, width]."""
        return gather_alone(self.attn, self.ln_k(tokens))


@final
class Visual(nn.Module):
    """Trunk, contrastive pool, norm, projection."""

    def __init__(self, trunk: VisionTransformer, dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.attn_pool_contrast = AttentionPool(dim, trunk.width)
        self.ln_contrast = nn.LayerNorm(dim)
        self.proj_contrast = nn.Parameter(torch.empty(dim, dim))

    def tower(self) -> ImageTower:
        """The tower for the dense methods; the contrastive pool gathers the image embedding."""
        return self.trunk.tower(self._alone, gathers=True)

    def _alone(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens of the trunk [b, n, width] into the joint space [b, n, d]."""
        gathered = self.attn_pool_contrast.alone(self.trunk.norm(tokens))
        return cast("torch.Tensor", self.ln_contrast(gathered) @ self.proj_contrast)


@final
class TextMlp(nn.Module):
    """Two linear layers with a GELU between, under the names of CLIP's text transformer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float [..., width] to the same."""
        return cast("torch.Tensor", self.c_proj(F.gelu(self.c_fc(x))))


@final
class TextBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, max(width // 64, 1), batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = TextMlp(width)

    def forward(self, x: torch.Tensor, blocked: torch.Tensor) -> torch.Tensor:
        """Tokens [n, length, width] to the same; where ``blocked`` [length, length] is true, no attention."""
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=blocked)[0]
        return x + cast("torch.Tensor", self.mlp(self.ln_2(x)))


@final
class TextBlocks(nn.Module):
    """The blocks, under the name they have in the checkpoint."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(TextBlock(width) for _ in range(depth))


@final
class TextTower(nn.Module):
    """Causal text transformer with a class token after the last text token.

    Args:
        width: Channels of a token.
        depth: Blocks.
        vocabulary: How many token ids there are.
        context: Positions, that of the class token included.
        dim: Dimension of the joint space.
    """

    def __init__(self, width: int, depth: int, vocabulary: int, context: int, dim: int) -> None:
        super().__init__()
        self.text_projection = nn.Parameter(torch.empty(width, dim))
        self.cls_emb = nn.Parameter(torch.empty(width))
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.empty(context, width))
        self.transformer = TextBlocks(width, depth)
        self.ln_final = nn.LayerNorm(width)

    @property
    def context(self) -> int:
        """Most text tokens, start and end included; one position is the class token's."""
        return len(self.positional_embedding) - 1

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings of texts of one length.

        The published model pads every text to its context and puts the class token at the last position,
        whatever the length. Its mask is one position late, so that the class token sees the text and one pad
        after it, and itself only when the context is full. Weights were trained so, hence the same here;
        pads that nothing sees are left out, which changes no value.

        Args:
            ids: Int64 [n, length] with start and end token, without pads; length at most the context.

        Returns:
            Float [n, d], of any length.
        """
        length, device = ids.shape[1], ids.device
        full = length == self.context
        if not full:
            ids = F.pad(ids, (0, 1), value=PAD)
        seen = ids.shape[1]
        position = torch.arange(seen + 1, device=device)
        position[-1] = self.context
        cls = self.cls_emb.expand(len(ids), 1, -1)
        x = torch.cat([self.token_embedding(ids), cls], dim=1) + self.positional_embedding[position]
        blocked = torch.ones(seen + 1, seen + 1, dtype=torch.bool, device=device).triu(1)
        blocked[-1, -1] = not full
        for block in self.transformer.resblocks:
            x = block(x, blocked)
        return cast("torch.Tensor", self.ln_final(x[:, -1]) @ self.text_projection)


@final
class Conch(nn.Module):
    """Both towers and the factor on cosines."""

    def __init__(self, visual: Visual, text: TextTower) -> None:
        super().__init__()
        self.visual = visual
        self.text = text
        self.logit_scale = nn.Parameter(torch.empty(()))


def conch_shaped_as(state: Mapping[str, torch.Tensor]) -> Conch:
    """The model without values, of the shapes of a checkpoint.

    Raises:
        KeyError: A tensor that tells a shape is missing.
    """
    trunk = VisionTransformer.shaped_as(state, "visual.trunk.")
    dim = len(state["visual.proj_contrast"])
    context, width = state["text.positional_embedding"].shape
    depth = count_blocks(state, "text.transformer.resblocks.")
    text = TextTower(width, depth, len(state["text.token_embedding.weight"]), context, dim)
    return Conch(Visual(trunk, dim), text)
