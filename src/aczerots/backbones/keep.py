"""KEEP from its published weights, without running the code of its repository.

Zhou et al. 2024, "A Knowledge-enhanced Pathology Vision-language Foundation Model for Cancer Diagnosis" (arXiv
2412.13126): a ViT-L/16 with layer scale whose class token goes through two linear layers with a GELU between, and
PubMedBERT, whose pooler output is the text embedding. Names and shapes of the tensors are those of the published
model ``Astaxanthin/KEEP``; transformers would run Python files from there, this does not.
"""

from __future__ import annotations

import importlib
from typing import Any, cast, final

import torch
from torch import nn

from aczerots.backbones.aligned import AlignedBackbone, Towers
from aczerots.backbones.checkpoints import State, fill, read_state
from aczerots.backbones.dense import DenseTower
from aczerots.backbones.hf_files import read_config
from aczerots.backbones.locator import Locator
from aczerots.backbones.model_files import find_model, first_file, need
from aczerots.backbones.preprocess import IMAGENET
from aczerots.backbones.tokenizers import read_wordpieces
from aczerots.backbones.vit import VisionTransformer
from aczerots.errors import InputError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
FILES = ("config.json", "vocab.txt")
CONTEXT = 256
"""Tokens that texts were cut at in its training."""


@final
class Keep(nn.Module):
    """Both towers.

    Args:
        visual: Image trunk.
        dim: Dimension of the joint space.
        hidden: Channels between the two linear layers of the image head.
        text: A ``transformers.BertModel``.
    """

    def __init__(self, visual: VisionTransformer, dim: int, hidden: int, text: nn.Module) -> None:
        super().__init__()
        self.visual = visual
        self.visual_head = nn.Sequential(nn.Linear(visual.width, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.text = text
        self.logit_scale = nn.Parameter(torch.empty(()))

    def image_tower(self) -> DenseTower:
        """The image tower for the dense methods."""
        return self.visual.tower(alone=lambda tokens: self.visual_head(self.visual.norm(tokens)))

    def sentences(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids [n, length] of texts of one length to embeddings [n, d], of any length."""
        return cast("torch.Tensor", self.text(ids).pooler_output)


def build_keep(bert: Any, state: State, source: str) -> Keep:
    """The model with the values of a checkpoint.

    Args:
        bert: Configuration of the text tower, a ``transformers.BertConfig``.
        state: Tensors by name.
        source: For messages.
    """
    transformers: Any = importlib.import_module("transformers")

    def shaped_as(state: State) -> Keep:
        trunk = VisionTransformer.shaped_as(state, "visual.")
        dim, hidden = state["visual_head.2.weight"].shape
        with torch.device("cpu"):  # it has buffers that no checkpoint holds
            text = transformers.BertModel(bert)
        return Keep(trunk, dim, hidden, text)

    return fill(shaped_as, state, source)


def load_keep(locator: Locator) -> AlignedBackbone:
    """Load KEEP, on the CPU.

    Args:
        locator: ``keep:`` and a folder with ``config.json``, ``vocab.txt`` and the weights, or the hub id
            ``Astaxanthin/KEEP``.
    """
    need("hf", ("transformers",), locator)
    folder, revision, weights = find_model(locator, WEIGHTS, FILES)
    vocabulary = first_file(folder, ("vocab.txt",), locator, "vocabulary")
    bert = _bert(read_config(folder, locator.where), locator)
    model = build_keep(bert, read_state(weights, locator.where), locator.where)
    towers = Towers(
        module=model,
        image=model.image_tower(),
        text=model.sentences,
        tokens=read_wordpieces(vocabulary, locator, bert.vocab_size - 1),
        context=min(CONTEXT, bert.max_position_embeddings),
        dim=bert.hidden_size,
        statistics=IMAGENET,
    )
    return AlignedBackbone(towers, locator, revision)


def _bert(config: dict[str, Any], locator: Locator) -> Any:
    """The text tower's configuration, a ``transformers.BertConfig``."""
    transformers: Any = importlib.import_module("transformers")
    try:
        return transformers.BertConfig(**config["text_config"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        fix = "Give the folder or hub id of KEEP"
        raise InputError("config.json describes no text tower", where=locator.where, fix=fix) from error
