"""CONCH from its published checkpoint, without its own package.

That package is under CC BY-NC-ND 4.0, is not on PyPI and needs a method of the tokenizer that transformers 5 no
longer has. The weights are gated: https://huggingface.co/MahmoodLab/CONCH.
"""

from __future__ import annotations

import importlib.util
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import torch

from aczerots.backbones.aligned import AlignedBackbone, Pixels, Towers
from aczerots.backbones.base import BackboneInfo
from aczerots.backbones.checkpoints import fill, read_state
from aczerots.backbones.clip import MAX_LOGIT_SCALE, MEAN, STD
from aczerots.backbones.conch.modules import Conch, conch_shaped_as
from aczerots.backbones.dense import Method, dense_tokens, sum_layers
from aczerots.backbones.locator import Locator
from aczerots.backbones.sources import find_model, need
from aczerots.backbones.tokenizers import read_tokenizer
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


def load_conch(locator: Locator) -> AlignedBackbone:
    """Load CONCH.

    Args:
        locator: ``conch:`` and a folder with ``pytorch_model.bin`` or ``model.safetensors`` and the tokenizer, or
            the hub id ``MahmoodLab/CONCH``, with or without ``hf-hub:`` before it. The default method is
            ``value``: the attention that comes last in CONCH is that of its contrastive pool.

    Raises:
        InputError: Not to be found, refused, damaged, or not CONCH.
        MissingExtraError: tokenizers or huggingface_hub is not installed.
    """
    need("conch", ("tokenizers", "huggingface_hub"), locator)
    folder, revision, weights = find_model(locator, WEIGHTS, TOKENIZERS)
    model = fill(conch_shaped_as, read_state(weights, locator.where), locator.where)
    tokens = read_tokenizer(_tokenizer_file(folder, locator), locator, _last_word(model))
    trunk = model.visual.trunk
    method = locator.method or "value"
    pixels = Pixels(trunk.side * trunk.patch, MEAN, STD, locator.large or "windows")
    info = BackboneInfo(
        locator=locator.text,
        revision=revision,
        method=method,
        dim=len(model.visual.proj_contrast),
        layer_dim=trunk.width,
        stride=trunk.patch,
        logit_scale=min(model.logit_scale.exp().item(), MAX_LOGIT_SCALE),
        input_size=pixels.side,
        large=pixels.large,
    )
    towers = Towers(model, partial(dense, model, method), model.visual, model.text, tokens, model.text.context)
    return AlignedBackbone(towers, pixels, info)


def dense(model: Conch, method: Method, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Dense tokens of CONCH.

    Its image embedding is gathered by the contrastive pool, so that the queries and keys that ``value`` drops are
    the pool's, and the trunk stays as it is. ``qq+kk``, ``qq`` and ``layers`` change the trunk's last block. In
    all of them every token then goes through the pool by itself, its norm and its projection.

    Args:
        model: CONCH.
        method: See dense.py.
        pixels: Normalised float [b, 3, h, w].

    Returns:
        Tokens in the joint space [b, n, d], of any length, and summed layers [b, n, d_v], without CLS.
    """
    visual = model.visual
    states = visual.trunk.states(pixels)
    tokens = states[-1] if method == "value" else dense_tokens(method, states, visual.trunk.last)
    gathered = visual.attn_pool_contrast.alone(visual.trunk.norm(tokens[:, 1:]))
    return visual.project(gathered), sum_layers(states)[:, 1:]


def _last_word(model: Conch) -> int:
    return model.text.token_embedding.num_embeddings - 1


def _tokenizer_file(folder: Path, locator: Locator) -> Path:
    """In the folder of the weights, in an installed ``conch`` package (not imported), or downloaded once."""
    beside = [folder / name for name in TOKENIZERS]
    package = importlib.util.find_spec("conch")
    for root in (package.submodule_search_locations or []) if package else []:
        beside.append(Path(root) / "open_clip_custom" / "tokenizers" / TOKENIZER)
    downloaded = cache_folder() / "downloads" / COMMIT / TOKENIZER
    found = next((path for path in (*beside, downloaded) if path.is_file()), None)
    if found is None:
        if locator.is_folder:
            fix = f"Put {TOKENIZER_URL} beside the weights"
            raise InputError("has no tokenizer", where=locator.where, fix=fix)
        fetch(TOKENIZER_URL, downloaded, locator)
        found = downloaded
    return found


def fetch(url: str, target: Path, locator: Locator) -> None:
    """Download a small file; it is whole or absent.

    Raises:
        InputError: Not reachable.
    """
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            content: bytes = answer.read()
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        fix = f"Download {url} and put it, with the weights, into a folder: conch:FOLDER"
        raise InputError("its tokenizer cannot be downloaded", where=locator.where, fix=fix) from error
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
