"""MUSK from its published checkpoint and its sentencepiece tokenizer, without its own package.

MUSK (Xiang et al. 2025, "A vision-language foundation model for precision oncology", Nature) is a BEiT-3 (Wang et al.,
"Image as a Foreign Language", CVPR 2023, figure 2): every block has one set of weights for image tokens (A) and one
for text tokens (B). An image or a text alone meets one of them only, so here they are two transformers. Blocks are
those of Magneto (Wang et al. 2022, "Foundation Transformers", figure 2): a further norm before the output projection
of attention and before the second linear layer. Its package is not on PyPI and needs fairscale. The weights are
gated: https://huggingface.co/xiangjx/musk.
"""

from __future__ import annotations

from typing import cast, final

import torch
from torch import nn

from aczerots.backbones.aligned import AlignedBackbone, Towers
from aczerots.backbones.checkpoints import State, fill, read_state
from aczerots.backbones.dense import DenseTower, block_states, resize_positions
from aczerots.backbones.locator import Locator
from aczerots.backbones.model_files import find_model, first_file, need
from aczerots.backbones.preprocess import HALF
from aczerots.backbones.tokenizers import read_pieces
from aczerots.backbones.vit import Block, count_blocks, rename_parts

WEIGHTS = ("model.safetensors", "musk.pth")
TOKENIZER = ("tokenizer.spm",)
CONTEXT = 100
"""Tokens that its authors cut texts at."""

FIRST_POSITION = 2
"""Positions are counted from here, as in fairseq; those before are never used."""

ENCODER = "beit3.encoder."
NAMES = {
    "cls_token": "beit3.vision_embed.cls_token",
    "patches.": "beit3.vision_embed.proj.",
    "vocabulary.": "beit3.text_embed.",
    "logit_scale": "logit_scale",
    "image.places.": f"{ENCODER}embed_positions.A.",
    "image.norm.": f"{ENCODER}layer_norm.A.",
    "image.head.": "vision_head.",
    "text.places.": f"{ENCODER}embed_positions.B.",
    "text.norm.": f"{ENCODER}layer_norm.B.",
    "text.head.": "language_head.",
}
"""What is outside of the blocks, and how the checkpoint names it."""


@final
class Way(nn.Module):
    """The transformer of one kind of token, with its projection into the joint space.

    Args:
        width: Channels of a token.
        depth: Blocks.
        hidden: Channels inside the feed-forward parts.
        places: Position embeddings in the checkpoint.
    """

    def __init__(self, width: int, depth: int, hidden: int, places: int) -> None:
        super().__init__()
        self.places = nn.Embedding(places, width)
        self.blocks = nn.ModuleList(Block(width, hidden, inner_norm=True) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, width, bias=False)

    @property
    def positions(self) -> torch.Tensor:
        """Position embeddings, float [n, width]."""
        return self.places.weight[FIRST_POSITION:]

    def project(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens that left the last block into the joint space, float [..., width]."""
        return cast("torch.Tensor", self.head(self.norm(tokens)))


@final
class Musk(nn.Module):
    """Both towers into the joint space.

    Args:
        image: Transformer of image tokens.
        text: Transformer of text tokens.
        patch: Pixels per patch, each way.
        vocabulary: How many token ids there are.
    """

    def __init__(self, image: Way, text: Way, patch: int, vocabulary: int) -> None:
        super().__init__()
        width = image.places.embedding_dim
        self.patch, self.width, self.side = patch, width, round((len(image.positions) - 1) ** 0.5)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.vocabulary = nn.Embedding(vocabulary, width)
        self.image, self.text = image, text
        self.logit_scale = nn.Parameter(torch.empty(()))

    def image_tower(self) -> DenseTower:
        """The image tower for the dense methods."""
        last, side = cast("Block", self.image.blocks[-1]).parts(), self.side * self.patch
        return DenseTower(self.image_states, last, self.image.project, 1, self.width, self.patch, side)

    def image_states(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Image tokens that enter the first block and leave each, float [b, 1 + gh * gw, width].

        Position embeddings are interpolated to gh x gw, as MUSK's own loader does for other image sizes.
        """
        patches = self.patches(pixels)
        gh, gw = patches.shape[-2:]
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches.flatten(2).mT], dim=1)
        positions = resize_positions(self.image.positions, (self.side, self.side), (gh, gw))
        return block_states(tokens + positions, self.image.blocks)

    def sentences(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids [n, length] of texts of one length, without pads, to embeddings [n, d], of any length."""
        tokens = self.vocabulary(ids) + self.text.positions[: ids.shape[1]]
        return self.text.project(block_states(tokens, self.text.blocks)[-1][:, 0])


def build_musk(state: State, source: str) -> Musk:
    """The model with the values of a checkpoint; ``source`` is for messages."""
    return fill(_shaped_as, state, source, _published)


def _shaped_as(state: State) -> Musk:
    vocabulary, width = state["beit3.text_embed.weight"].shape
    hidden, depth = len(state[f"{ENCODER}layers.0.ffn.A.fc1.weight"]), count_blocks(state, f"{ENCODER}layers.")
    places = (len(state[f"{ENCODER}embed_positions.{way}.weight"]) for way in "AB")
    image, text = (Way(width, depth, hidden, number) for number in places)
    return Musk(image, text, state["beit3.vision_embed.proj.weight"].shape[-1], vocabulary)


def _published(name: str) -> tuple[str, ...]:
    """Names in the checkpoint of a tensor of :class:`Musk`."""
    for ours, theirs in NAMES.items():
        if name.startswith(ours):
            return (theirs + name.removeprefix(ours),)
    way = "A" if name.startswith("image.") else "B"
    parts = {
        "norm1.": (f"self_attn_layer_norm.{way}.",),
        "attn.qkv.": tuple(f"self_attn.{letter}_proj.{way}." for letter in "qkv"),
        "attn.norm.": (f"self_attn.inner_attn_ln.{way}.",),
        "attn.proj.": (f"self_attn.out_proj.{way}.",),
        "norm2.": (f"final_layer_norm.{way}.",),
        "mlp.fc1.": (f"ffn.{way}.fc1.",),
        "mlp.norm.": (f"ffn.{way}.ffn_layernorm.",),
        "mlp.fc2.": (f"ffn.{way}.fc2.",),
    }
    return rename_parts(name.partition(".")[2], "blocks.", f"{ENCODER}layers.", parts)


def load_musk(locator: Locator) -> AlignedBackbone:
    """Load MUSK, on the CPU.

    Args:
        locator: ``musk:`` and a folder with ``model.safetensors`` and ``tokenizer.spm``, or the hub id
            ``xiangjx/musk``.
    """
    need("musk", ("sentencepiece", "huggingface_hub"), locator)
    folder, revision, weights = find_model(locator, WEIGHTS, TOKENIZER)
    pieces = first_file(folder, TOKENIZER, locator, "tokenizer")
    model = build_musk(read_state(weights, locator.where), locator.where)
    towers = Towers(
        module=model,
        image=model.image_tower(),
        text=model.sentences,
        tokens=read_pieces(pieces, locator, model.vocabulary.num_embeddings - 1),
        context=min(CONTEXT, len(model.text.positions)),
        dim=model.width,
        statistics=HALF,
    )
    return AlignedBackbone(towers, locator, revision)
