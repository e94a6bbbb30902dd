"""``open_clip:``: models of the open_clip library (QuiltNet, BiomedCLIP, CoCa, ...)."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from aczerots.backbones.aligned import AlignedBackbone, Towers
from aczerots.backbones.locator import Locator
from aczerots.backbones.model_files import find_model, first_file, loading, need
from aczerots.backbones.open_clip_towers import image_tower
from aczerots.errors import InputError

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
TOKENIZER = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "tokenizer_config.json")
USED = (CONFIG, *TOKENIZER, "special_tokens_map.json", "added_tokens.json")

LONG = 2048
"""Tokens that a text is padded to before its pads are taken off; longer than any context."""


def load_open_clip(locator: Locator) -> AlignedBackbone:
    """Load a model of open_clip, on the CPU.

    Pickled weights (``.bin``) are read by torch's reader that builds nothing but tensors and plain containers
    (``weights_only=True``), because a pickle may else run any code.

    Args:
        locator: ``open_clip:`` and a folder with ``open_clip_config.json`` and weights, a hub id with or without
            ``hf-hub:`` before it, or a name that open_clip knows with its training: ``ViT-B-32@laion2b_s34b_b79k``.
    """
    need("open-clip", ("open_clip", "timm", "transformers"), locator)
    model, tokenizer, revision = (_known if locator.is_library_name else _saved)(locator)
    if getattr(tokenizer, "tokenizer_mode", None) == "clips":
        raise InputError("its way of splitting texts ('clips') is not supported", where=locator.where)
    tower = image_tower(model, locator.where)
    facts = importlib.import_module("open_clip").get_model_preprocess_cfg(model)
    with torch.no_grad():
        dim = _embed(model.eval(), tokenizer, torch.tensor([_tokens(tokenizer, "a")])).shape[1]
        given = tower.alone(torch.zeros(1, 1, tower.width)).shape[2]
    if given != dim:
        what = f"its images have {given} numbers, its texts {dim}: they are not aligned"
        raise InputError(what, where=locator.where)
    towers = Towers(
        module=model,
        image=tower,
        text=partial(_embed, model, tokenizer),
        tokens=partial(_tokens, tokenizer),
        context=tokenizer.context_length,
        dim=dim,
        statistics=(facts["mean"], facts["std"]),
    )
    return AlignedBackbone(towers, locator, revision)


def _saved(locator: Locator) -> tuple[Any, Any, str]:
    """(model, tokenizer, revision) of a folder or a hub id."""
    open_clip: Any = importlib.import_module("open_clip")
    folder, revision, _ = find_model(locator, WEIGHTS, USED)  # open_clip prefers the same names
    first_file(folder, (CONFIG,), locator, "configuration of open_clip")
    with _loading(locator):
        model = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False)
        text = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
        name = text.get("hf_tokenizer_name")
        if name and not any((folder / file).is_file() for file in TOKENIZER):
            length, more = text.get("context_length", 77), text.get("tokenizer_kwargs", {})
            tokenizer = open_clip.tokenizer.HFTokenizer(name, context_length=length, **more)
        else:
            tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    return model, tokenizer, revision


def _known(locator: Locator) -> tuple[Any, Any, str]:
    """(model, tokenizer, revision) of a name and a training that open_clip knows; the weights are downloaded."""
    open_clip: Any = importlib.import_module("open_clip")
    name, training = locator.source, locator.revision
    if name not in open_clip.list_models():
        fix = "Give a folder, hf-hub:ID, or a name of open_clip.list_models()"
        raise InputError("is neither a folder nor a model that open_clip knows", where=locator.where, fix=fix)
    trainings = open_clip.list_pretrained_tags_by_model(name)
    if training not in trainings:
        fix = f"Write one of these behind it: {', '.join(f'@{t}' for t in trainings) or 'none is published'}"
        raise InputError("has no such training" if training else "needs a training", where=locator.where, fix=fix)
    facts = open_clip.get_pretrained_cfg(name, training)
    with _loading(locator):
        weights = Path(open_clip.download_pretrained(facts))
        model = open_clip.create_model(
            name,
            pretrained=str(weights),
            force_quick_gelu=facts.get("quick_gelu", False),
            force_preprocess_cfg={key: facts[key] for key in ("mean", "std") if key in facts},
        )
        tokenizer = open_clip.get_tokenizer(name)
    with weights.open("rb") as file:
        return model, tokenizer, f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


@contextmanager
def _loading(locator: Locator) -> Iterator[None]:
    """Failures of open_clip as one sentence; its remarks on the root logger are held back."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        with loading(locator, AttributeError):
            yield
    finally:
        root.setLevel(level)


def _tokens(tokenizer: Any, text: str) -> list[int]:
    """Token ids with start and end token; what pads there are at the end is taken off."""
    ids: list[int] = tokenizer([text], context_length=LONG)[0].tolist()
    pad = _pad(tokenizer)
    while len(ids) > 1 and ids[-1] == pad:
        ids.pop()
    return ids


def _pad(tokenizer: Any) -> int:
    """Id that texts are padded with; open_clip's own tokenizer pads with 0."""
    inner = getattr(tokenizer, "tokenizer", None)
    return 0 if inner is None or inner.pad_token_id is None else int(inner.pad_token_id)


def _embed(model: Any, tokenizer: Any, ids: torch.Tensor) -> torch.Tensor:
    """Embeddings [n, d] of texts of one length, padded to the context as the model was trained."""
    padded = F.pad(ids, (0, tokenizer.context_length - ids.shape[1]), value=_pad(tokenizer))
    embedded: torch.Tensor = model.encode_text(padded, normalize=False)
    return embedded
