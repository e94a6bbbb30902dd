"""MUSK from its published checkpoint and its sentencepiece tokenizer, without its own package.

That package is not on PyPI and needs fairscale. The weights are gated: https://huggingface.co/xiangjx/musk.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from aczerots.backbones.aligned import AlignedBackbone, Pixels, Towers
from aczerots.backbones.base import BackboneInfo
from aczerots.backbones.checkpoints import fill, read_state
from aczerots.backbones.clip import MAX_LOGIT_SCALE
from aczerots.backbones.dense import Method, dense_tokens, sum_layers
from aczerots.backbones.locator import Locator
from aczerots.backbones.musk.modules import Musk, musk_shaped_as
from aczerots.backbones.sources import find_model, first_file, need
from aczerots.errors import InputError

WEIGHTS = ("model.safetensors", "musk.pth")
TOKENIZER = ("tokenizer.spm",)
MEAN = STD = (0.5, 0.5, 0.5)
CONTEXT = 100
"""Tokens that its authors cut texts at."""


def load_musk(locator: Locator) -> AlignedBackbone:
    """Load MUSK.

    Args:
        locator: ``musk:`` and a folder with ``model.safetensors`` and ``tokenizer.spm``, or the hub id
            ``xiangjx/musk``. The default method is ``value``.

    Raises:
        InputError: Not to be found, refused, damaged, or not MUSK.
        MissingExtraError: sentencepiece or huggingface_hub is not installed.
    """
    need("musk", ("sentencepiece", "huggingface_hub"), locator)
    folder, revision, weights = find_model(locator, WEIGHTS, TOKENIZER)
    pieces = first_file(folder, TOKENIZER, locator, "tokenizer")
    model = fill(musk_shaped_as, read_state(weights, locator.where), locator.where)
    tokens = read_pieces(pieces, locator, model.beit3.text_embed.num_embeddings - 1)
    method = locator.method or "value"
    pixels = Pixels(model.side * model.patch, MEAN, STD, locator.large or "windows")
    info = BackboneInfo(
        locator=locator.text,
        revision=revision,
        method=method,
        dim=model.width,
        layer_dim=model.width,
        stride=model.patch,
        logit_scale=min(model.logit_scale.exp().item(), MAX_LOGIT_SCALE),
        input_size=pixels.side,
        large=pixels.large,
    )
    context = min(CONTEXT, len(model.beit3.encoder.positions("B")))
    towers = Towers(model, partial(dense, model, method), model.image, model.text, tokens, context)
    return AlignedBackbone(towers, pixels, info)


def dense(model: Musk, method: Method, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Dense tokens: those of the method (see dense.py), each through the final norm and the image head.

    Args:
        model: MUSK.
        method: See dense.py.
        pixels: Normalised float [b, 3, h, w].

    Returns:
        Tokens in the joint space [b, n, d], of any length, and summed layers [b, n, d_v], without CLS.
    """
    states = model.image_states(pixels)
    last: Any = model.beit3.encoder.layers[-1]
    tokens = dense_tokens(method, states, last.parts())[:, 1:]
    return model.project(tokens), sum_layers(states)[:, 1:]


def read_pieces(path: Path, locator: Locator, last: int) -> Callable[[str], list[int]]:
    """A function from a text to its ids as XLM-RoBERTa counts them.

    XLM-RoBERTa keeps fairseq's first ids, start 0, pad 1, end 2, unknown 3, and puts a sentencepiece id one
    higher; sentencepiece's unknown, 0, becomes 3 (documentation of ``XLMRobertaTokenizer`` in transformers).

    Args:
        path: A sentencepiece model.
        locator: For messages.
        last: Highest id that the text tower knows.

    Raises:
        InputError: Not such a file, or it has ids that the text tower does not know.
    """
    sentencepiece: Any = importlib.import_module("sentencepiece")
    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path.name} holds no sentencepiece model", where=locator.where) from error
    if processor.get_piece_size() > last:
        fix = "Take weights and tokenizer from the same model"
        raise InputError("the tokenizer does not belong to the weights", where=locator.where, fix=fix)

    def tokens(text: str) -> list[int]:
        return [0, *(piece + 1 if piece else 3 for piece in processor.encode(text)), 2]

    return tokens
