"""``hf:``: models of transformers from a folder or a hub id: families with text, and vision-only helpers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from aczerots.backbones import remote
from aczerots.backbones.aligned import AlignedBackbone, Towers
from aczerots.backbones.clip import clip_towers
from aczerots.backbones.hf_files import (
    USED,
    VISION,
    VISION_ONLY,
    check_tokenizer,
    check_weights,
    image_statistics,
    read_config,
)
from aczerots.backbones.locator import Locator
from aczerots.backbones.model_files import loading, locate_files, need
from aczerots.backbones.preprocess import CLIP, HALF, IMAGENET, Statistics
from aczerots.backbones.refine import Helper, HelperInfo
from aczerots.backbones.siglip import siglip_towers
from aczerots.backbones.tokenizers import not_of_these_weights
from aczerots.errors import InputError, extra_needed


@dataclass(frozen=True)
class Family:
    """What differs between the families that ``hf:`` reads.

    Attributes:
        architecture: Class in transformers.
        towers: (model, tokenizer, image statistics) to towers.
        statistics: What images are normalised with where the folder states nothing.
    """

    architecture: str
    towers: Callable[[Any, Any, Statistics], Towers]
    statistics: Statistics


FAMILIES = {
    "clip": Family("CLIPModel", clip_towers, CLIP),
    "siglip": Family("SiglipModel", siglip_towers, HALF),
}
"""Families by ``model_type`` of the configuration."""


def load_hf(locator: Locator, trust_remote_code: bool = False) -> AlignedBackbone:
    """Load a model, its tokenizer and its image statistics, on the CPU. Only safetensors weights, never a pickle.

    Args:
        locator: Its source is a folder saved by transformers, or a hub id.
        trust_remote_code: Run Python code of the repository if the model needs it. The code is part of the revision.
    """
    need("hf", ("transformers",), locator)
    folder, revision = locate_files(locator, (*USED, remote.CODE) if trust_remote_code else USED)
    config = read_config(folder, locator.where)
    family = _family(config, locator, trust_remote_code)
    check_weights(folder, locator.where)
    check_tokenizer(folder, locator.where)
    if family is None:
        remote.check_local(config, folder, locator)
        with remote.running(locator):
            model = load_model("AutoModel", folder, locator, trust_remote_code=True)
        tokenizer = _load_tokenizer(folder, locator, trust_remote_code=True)
        family = FAMILIES[remote.family_of(model, locator)]
    else:
        tokenizer = _load_tokenizer(folder, locator)
        model = load_model(family.architecture, folder, locator)
    statistics = image_statistics(folder, locator.where, family.statistics)
    _check_pair(model, tokenizer, locator)
    return AlignedBackbone(family.towers(model, tokenizer, statistics), locator, revision)


def load_vision(locator: Locator) -> Helper:
    """Load a vision-only model of transformers, on the CPU. Only safetensors weights, never a pickle.

    Args:
        locator: Its source is a folder saved by transformers, or a hub id.
    """
    need("hf", ("transformers",), locator)
    folder, revision = locate_files(locator, VISION)
    kind = read_config(folder, locator.where).get("model_type")
    if kind not in VISION_ONLY:
        fix = f"--refine-with hf: reads {', '.join(VISION_ONLY)}; a model that has text belongs to --backbone"
        raise InputError(f"is a model of type '{kind}'", where=locator.where, fix=fix)
    check_weights(folder, locator.where)
    statistics = image_statistics(folder, locator.where, IMAGENET)
    model = load_model(VISION_ONLY[kind], folder, locator)
    info = HelperInfo(locator.text, revision, model.config.patch_size, model.config.hidden_size)
    options = {"interpolate_pos_encoding": True} if kind == "vit" else {}

    def patches(pixels: torch.Tensor, number: int) -> torch.Tensor:
        # The last hidden state is class token, registers, patches in rows.
        tokens: torch.Tensor = model(pixels, **options).last_hidden_state
        return tokens[:, -number:]

    return Helper(model, patches, info, statistics)


def _family(config: dict[str, Any], locator: Locator, trust_remote_code: bool) -> Family | None:
    """The family that a configuration says; None if only trusted code of the repository can tell.

    Refuses models without aligned dense features and text.
    """
    kind = config.get("model_type")
    if kind in FAMILIES:
        return FAMILIES[kind]
    if kind in VISION_ONLY:
        fix = f"Use it as a helper of one that has: --backbone hf:ID_OR_FOLDER --refine-with {locator.where}"
        raise InputError(f"is a vision-only model ({kind}), it has no text", where=locator.where, fix=fix)
    if trust_remote_code and "auto_map" in config:
        return None
    remote.refuse_code(config, locator)
    supported = "hf: reads CLIP and PLIP (clip), SigLIP, SigLIP 2 of fixed size and MedSigLIP (siglip)"
    raise InputError(f"is a model of type '{kind}'", where=locator.where, fix=supported)


def load_model(architecture: str, folder: Path, locator: Locator, **options: bool) -> Any:
    """A transformers model in float32 with all of its weights; no network."""
    transformers: Any = importlib.import_module("transformers")
    with _loading(locator):
        model, report = getattr(transformers, architecture).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            **options,
        )
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise InputError(f"the weights lack {len(missing)} tensors, {missing[0]} for one", where=locator.where)
    return model.eval().requires_grad_(False)


def _load_tokenizer(folder: Path, locator: Locator, trust_remote_code: bool = False) -> Any:
    transformers: Any = importlib.import_module("transformers")
    options = {"local_files_only": True, "trust_remote_code": trust_remote_code}  # not said, it would ask
    with extra_needed("hf", f"the tokenizer of '{locator.where}'"), _loading(locator):  # SigLIP's needs sentencepiece
        return transformers.AutoTokenizer.from_pretrained(folder, **options)


def _check_pair(model: Any, tokenizer: Any, locator: Locator) -> None:
    """Refuse a tokenizer and weights that do not belong together, and a model without a pooling head."""
    text = model.config.text_config
    if not getattr(model.config.vision_config, "vision_use_head", True):
        raise InputError("has no pooling head, so its tokens are not aligned with text", where=locator.where)
    ends = tokenizer("a")["input_ids"][-1:] == [tokenizer.eos_token_id]
    fits = len(tokenizer) <= text.vocab_size
    if model.config.model_type == "clip":
        # 2 is what old configurations say; transformers then takes the highest id for the end of the text.
        fits = fits and text.eos_token_id in (2, tokenizer.eos_token_id)
    if not (fits and ends):
        raise not_of_these_weights(locator)


@contextmanager
def _loading(locator: Locator) -> Iterator[None]:
    """Quiet, and every error that a bad file can cause in transformers becomes one of ours."""
    safetensors, hub = (importlib.import_module(name) for name in ("safetensors", "huggingface_hub.errors"))
    with loading(locator, safetensors.SafetensorError, hub.StrictDataclassError), _quiet():
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings in transformers' log and no bars while weights load; the switches are put back after."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    hub: Any = importlib.import_module("huggingface_hub.utils")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    no_hub_bars = hub.are_progress_bars_disabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # switches the hub's on as well
        if no_hub_bars:
            hub.disable_progress_bars()
