"""KEEP from its published weights, without running the code of its repository.

Zhou et al. 2024, "A Knowledge-enhanced Pathology Vision-language Foundation Model for Cancer Diagnosis" (arXiv
2412.13126): a ViT-L/16 with layer scale whose class token goes through two linear layers with a GELU between, and
PubMedBERT, whose pooler output is the text embedding. Names and shapes of the tensors are those of the published
model ``Astaxanthin/KEEP``; transformers would run Python files from there, this does not.
"""

from __future__ import annotations

import importlib
import json
from functools import partial
from pathlib import Path
from typing import Any, cast, final

import torch
import torch.nn.functional as F
from torch import nn

from aczerots.backbones.aligned import AlignedBackbone, Pixels, Towers
from aczerots.backbones.base import BackboneInfo
from aczerots.backbones.checkpoints import State, fill, read_state
from aczerots.backbones.clip import MAX_LOGIT_SCALE
from aczerots.backbones.dense import Method, dense_tokens, sum_layers
from aczerots.backbones.locator import Locator
from aczerots.backbones.sources import find_model, first_file, need
from aczerots.backbones.tokenizers import read_wordpieces
from aczerots.backbones.vit import VisionTransformer
from aczerots.errors import InputError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
FILES = ("config.json", "vocab.txt")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Published with the model: ImageNet's."""

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

    def image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised pixels [b, 3, h, w] to unit embeddings [b, d]."""
        return F.normalize(self.visual_head(self.visual(pixels)[:, 0]), dim=-1)

    def sentences(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids [n, length] of texts of one length to embeddings [n, d], of any length."""
        return cast("torch.Tensor", self.text(ids).pooler_output)


def load_keep(locator: Locator) -> AlignedBackbone:
    """Load KEEP.

    Args:
        locator: ``keep:`` and a folder with ``config.json``, ``vocab.txt`` and the weights, or the hub id
            ``Astaxanthin/KEEP``. The default method is ``value``.

    Raises:
        InputError: Not to be found, refused, damaged, or not KEEP.
        MissingExtraError: transformers is not installed.
    """
    need("hf", ("transformers",), locator)
    folder, revision, weights = find_model(locator, WEIGHTS, FILES)
    words = first_file(folder, ("vocab.txt",), locator, "vocabulary")
    bert = _bert(first_file(folder, ("config.json",), locator, "configuration"), locator)
    model = fill(partial(_shaped_as, bert), read_state(weights, locator.where), locator.where)
    tokens = read_wordpieces(words, locator, bert.vocab_size - 1)
    trunk, method = model.visual, locator.method or "value"
    pixels = Pixels(trunk.side * trunk.patch, MEAN, STD, locator.large or "windows")
    info = BackboneInfo(
        locator=locator.text,
        revision=revision,
        method=method,
        dim=bert.hidden_size,
        layer_dim=trunk.width,
        stride=trunk.patch,
        logit_scale=min(model.logit_scale.exp().item(), MAX_LOGIT_SCALE),
        input_size=pixels.side,
        large=pixels.large,
    )
    context = min(CONTEXT, bert.max_position_embeddings)
    towers = Towers(model, partial(dense, model, method), model.image, model.sentences, tokens, context)
    return AlignedBackbone(towers, pixels, info)


def dense(model: Keep, method: Method, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Dense tokens: those of the method (see dense.py), each through the final norm and the image head.

    Args:
        model: KEEP.
        method: See dense.py.
        pixels: Normalised float [b, 3, h, w].

    Returns:
        Tokens in the joint space [b, n, d], of any length, and summed layers [b, n, d_v], without CLS.
    """
    states = model.visual.states(pixels)
    tokens = dense_tokens(method, states, model.visual.last)[:, 1:]
    return model.visual_head(model.visual.norm(tokens)), sum_layers(states)[:, 1:]


def _bert(path: Path, locator: Locator) -> Any:
    """The text tower's configuration, a ``transformers.BertConfig``."""
    transformers: Any = importlib.import_module("transformers")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return transformers.BertConfig(**facts["text_config"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        fix = "Give the folder or hub id of KEEP"
        raise InputError("config.json describes no text tower", where=locator.where, fix=fix) from error


def _shaped_as(bert: Any, state: State) -> Keep:
    """The model without values, of the shapes of a checkpoint."""
    transformers: Any = importlib.import_module("transformers")
    trunk = VisionTransformer.shaped_as(state, "visual.")
    dim, hidden = state["visual_head.2.weight"].shape
    with torch.device("cpu"):  # it has buffers that no checkpoint holds
        text = transformers.BertModel(bert)
    return Keep(trunk, dim, hidden, text)
