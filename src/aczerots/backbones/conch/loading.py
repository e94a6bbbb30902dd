"""CONCH from its published checkpoint, without its own package.

That package is under CC BY-NC-ND 4.0, is not on PyPI and needs a method of the tokenizer that transformers 5 no
longer has. The weights are gated: https://huggingface.co/MahmoodLab/CONCH.
"""

from __future__ import annotations

import importlib.util
import urllib.error
import urllib.request
from pathlib import Path

from aczerots.backbones.aligned import AlignedBackbone, Towers
from aczerots.backbones.checkpoints import fill, read_state
from aczerots.backbones.conch.modules import conch_shaped_as
from aczerots.backbones.locator import Locator
from aczerots.backbones.model_files import find_model, need
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
            the hub id ``MahmoodLab/CONCH``, with or without ``hf-hub:`` before it.

    Raises:
        InputError: Not to be found, refused, damaged, or not CONCH.
        MissingExtraError: tokenizers or huggingface_hub is not installed.
    """
    need("conch", ("tokenizers", "huggingface_hub"), locator)
    folder, revision, weights = find_model(locator, WEIGHTS, TOKENIZERS)
    model = fill(conch_shaped_as, read_state(weights, locator.where), locator.where)
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
