"""MUSK from its published checkpoint and its sentencepiece tokenizer, without its own package.

That package is not on PyPI and needs fairscale. The weights are gated: https://huggingface.co/xiangjx/musk.
"""

from __future__ import annotations

from aczerots.backbones.aligned import AlignedBackbone, Towers
from aczerots.backbones.checkpoints import fill, read_state
from aczerots.backbones.locator import Locator
from aczerots.backbones.model_files import find_model, first_file, need
from aczerots.backbones.musk.modules import musk_shaped_as
from aczerots.backbones.preprocess import HALF
from aczerots.backbones.tokenizers import read_pieces

WEIGHTS = ("model.safetensors", "musk.pth")
TOKENIZER = ("tokenizer.spm",)
CONTEXT = 100
"""Tokens that its authors cut texts at."""


def load_musk(locator: Locator) -> AlignedBackbone:
    """Load MUSK.

    Args:
        locator: ``musk:`` and a folder with ``model.safetensors`` and ``tokenizer.spm``, or the hub id
            ``xiangjx/musk``.

    Raises:
        InputError: Not to be found, refused, damaged, or not MUSK.
        MissingExtraError: sentencepiece or huggingface_hub is not installed.
    """
    need("musk", ("sentencepiece", "huggingface_hub"), locator)
    folder, revision, weights = find_model(locator, WEIGHTS, TOKENIZER)
    pieces = first_file(folder, TOKENIZER, locator, "tokenizer")
    model = fill(musk_shaped_as, read_state(weights, locator.where), locator.where)
    towers = Towers(
        module=model,
        image=model.image_tower(),
        text=model.text,
        tokens=read_pieces(pieces, locator, model.beit3.text_embed.num_embeddings - 1),
        context=min(CONTEXT, len(model.beit3.encoder.positions("B"))),
        dim=model.width,
        statistics=HALF,
    )
    return AlignedBackbone(towers, locator, revision)
