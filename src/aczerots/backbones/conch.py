"""CONCH from its published checkpoint, without its own package.

CONCH is a CoCa model (Yu et al. 2022, "CoCa: Contrastive Captioners are Image-Text Foundation Models", figure 2;
Lu et al. 2024, "A visual-language foundation model for computational pathology", methods). Written from these
descriptions; the caption decoder and its pool make no embeddings and are left out. Its package is under CC BY-NC-ND
4.0, is not on PyPI and needs a method of the tokenizer that transformers 5 no longer has. The weights are gated:
https://huggingface.co/MahmoodLab/CONCH.
"""

from __future__ import annotations

import importlib.util
import urllib.error
import urllib.request
from pathlib import Path
from typing import cast, final

import torch
import torch.nn.functional as F
from torch import nn

from aczerots.backbones.aligned import AlignedBackbone, Towers
from aczerots.backbones.checkpoints import State, fill, read_state
from aczerots.backbones.dense import DenseTower, gather_alone
from aczerots.backbones.locator import Locator
from aczerots.backbones.model_files import find_model, need
from aczerots.backbones.tokenizers import read_tokenizer
from aczerots.backbones.vit import Block, VisionTransformer, count_blocks, rename_parts
from aczerots.config import cache_folder
from aczerots.errors import InputError
from aczerots.storage.files import atomic_write

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENIZER = "conch_byte_level_bpe_uncased.json"
TOKENIZERS = (TOKENIZER, "tokenizer.json")
COMMIT = "e9c9e5b7910d88adf14db77a2108286b7eacc652"
TOKENIZER_URL = (
    f"https://raw.githubusercontent.com/mahmoodlab/CONCH/{COMMIT}/conch/open_clip_custom/tokenizers/{TOKENIZER}"
)
"""The repository of the weights has no tokenizer; that of the code has."""

POOL_HEADS = 8
"""Attention heads of the pool, which shapes do not tell."""

PAD = 0
"""Token id of the padding."""

BLOCKS = "text.transformer.resblocks."
PARTS = {
    "norm1.": ("ln_1.",),
    "norm2.": ("ln_2.",),
    "attn.qkv.": ("attn.in_proj_",),
    "attn.proj.": ("attn.out_proj.",),
    "mlp.fc1.": ("mlp.c_fc.",),
    "mlp.fc2.": ("mlp.c_proj.",),
}
"""Parts of a text block, and how the checkpoint names them."""


@final
class Visual(nn.Module):
    """Trunk, contrastive pool, norm, projection; the query of the pool plays no part where a token is alone."""

    def __init__(self, trunk: VisionTransformer, dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        width = trunk.width
        attention = nn.MultiheadAttention(dim, POOL_HEADS, kdim=width, vdim=width, batch_first=True)
        self.attn_pool_contrast = nn.ModuleDict({"attn": attention, "ln_k": nn.LayerNorm(width)})
        self.ln_contrast = nn.LayerNorm(dim)
        self.proj_contrast = nn.Parameter(torch.empty(dim, dim))

    def tower(self) -> DenseTower:
        """The tower for the dense methods; the contrastive pool gathers the image embedding."""
        return self.trunk.tower(self._alone, gathers=True)

    def _alone(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens of the trunk [b, n, width] into the joint space [b, n, d]."""
        pool = self.attn_pool_contrast
        gathered = gather_alone(pool["attn"], pool["ln_k"](self.trunk.norm(tokens)))
        return cast("torch.Tensor", self.ln_contrast(gathered) @ self.proj_contrast)


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
        self.blocks = nn.ModuleList(Block(width, 4 * width) for _ in range(depth))
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
        full = ids.shape[1] == self.context
        if not full:
            ids = F.pad(ids, (0, 1), value=PAD)
        seen = ids.shape[1]
        position = torch.arange(seen + 1, device=ids.device)
        position[-1] = self.context
        cls = self.cls_emb.expand(len(ids), 1, -1)
        x = torch.cat([self.token_embedding(ids), cls], dim=1) + self.positional_embedding[position]
        allowed = torch.ones(seen + 1, seen + 1, dtype=torch.bool, device=ids.device).tril()
        allowed[-1, -1] = full
        for block in self.blocks:
            x = block(x, allowed)
        return cast("torch.Tensor", self.ln_final(x[:, -1]) @ self.text_projection)


@final
class Conch(nn.Module):
    """Both towers and the factor on cosines."""

    def __init__(self, visual: Visual, text: TextTower) -> None:
        super().__init__()
        self.visual = visual
        self.text = text
        self.logit_scale = nn.Parameter(torch.empty(()))


def build_conch(state: State, source: str) -> Conch:
    """The model with the values of a checkpoint; ``source`` is for messages."""
    return fill(_shaped_as, state, source, lambda name: rename_parts(name, "text.blocks.", BLOCKS, PARTS))


def _shaped_as(state: State) -> Conch:
    trunk = VisionTransformer.shaped_as(state, "visual.trunk.")
    dim = len(state["visual.proj_contrast"])
    context, width = state["text.positional_embedding"].shape
    depth = count_blocks(state, BLOCKS)
    text = TextTower(width, depth, len(state["text.token_embedding.weight"]), context, dim)
    return Conch(Visual(trunk, dim), text)


def load_conch(locator: Locator) -> AlignedBackbone:
    """Load CONCH, on the CPU.

    Args:
        locator: ``conch:`` and a folder with ``pytorch_model.bin`` or ``model.safetensors`` and the tokenizer, or
            the hub id ``MahmoodLab/CONCH``, with or without ``hf-hub:`` before it.
    """
    need("conch", ("tokenizers", "huggingface_hub"), locator)
    folder, revision, weights = find_model(locator, WEIGHTS, TOKENIZERS)
    model = build_conch(read_state(weights, locator.where), locator.where)
    last = model.text.token_embedding.num_embeddings - 1
    towers = Towers(
        module=model,
        image=model.visual.tower(),
        text=model.text,
        tokens=read_tokenizer(_tokenizer_file(folder, locator), locator, last),
        context=model.text.context,
        dim=len(model.visual.proj_contrast),
    )
    return AlignedBackbone(towers, locator, revision)


def _tokenizer_file(folder: Path, locator: Locator) -> Path:
    """In the folder of the weights, in an installed ``conch`` package (not imported), or downloaded once."""
    places = [folder / name for name in TOKENIZERS]
    package = importlib.util.find_spec("conch")
    for root in (package.submodule_search_locations or []) if package else []:
        places.append(Path(root) / "open_clip_custom" / "tokenizers" / TOKENIZER)
    downloaded = cache_folder() / "downloads" / COMMIT / TOKENIZER
    found = next((path for path in (*places, downloaded) if path.is_file()), None)
    if found is not None:
        return found
    if locator.is_folder:
        fix = f"Put {TOKENIZER_URL} beside the weights"
        raise InputError("has no tokenizer", where=locator.where, fix=fix)
    _fetch(TOKENIZER_URL, downloaded, locator)
    return downloaded


def _fetch(url: str, target: Path, locator: Locator) -> None:
    """Download a small file; it is whole or absent."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            content: bytes = answer.read()
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        fix = f"Download {url} and put it, with the weights, into a folder: conch:FOLDER"
        raise InputError("its tokenizer cannot be downloaded", where=locator.where, fix=fix) from error
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
