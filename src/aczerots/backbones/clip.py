"""CLIP models through transformers, with dense embeddings by the value path (MaskCLIP).

The dense grid is that of Zhou et al., "Extract Free Dense Labels from CLIP" (ECCV 2022), section 3.2: in the
last block, queries and keys are dropped, and attention becomes its value projection followed by its output
projection, at every token for itself. With x the patch tokens that enter the last block, a cell is

    z = visual_projection(post_layernorm(out_proj(v_proj(layer_norm1(x))))), scaled to unit length.

This stays in the joint space because what the CLS token gathers by attention, before the same final norm and
projection, is a convex mean of just such values. Neither the residual nor the feed-forward part of the last
block is added: the residual is what makes dense CLIP maps noisy (Lan et al., "ClearCLIP", ECCV 2024).
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, final

import torch
import torch.nn.functional as F

from aczerots.backbones.base import BackboneInfo, Grids
from aczerots.backbones.clip_files import check_files, image_statistics, locate_files
from aczerots.errors import InputError, MissingExtraError

MAX_LOGIT_SCALE = 100.0
"""Radford et al. 2021, section 2.5: the factor on cosines is clipped here."""

BORDERS = (r"(?<=[.!?])\s+", r"(?<=[,;:])\s+", r"\s+")
"""Where a long text may be parted, best first: sentences, clauses, words."""

TEXT_BATCH = 32
"""Texts of equal length that are encoded together."""


@final
class ClipBackbone:
    """A CLIP model as a backbone. Made by :func:`load_clip`.

    Args:
        model: A ``transformers.CLIPModel``; frozen here.
        tokenizer: The tokenizer it was trained with; adds start and end tokens itself.
        info: Facts about it.
        mean: RGB mean that images are normalised with, in [0, 1].
        std: RGB standard deviation, likewise.
    """

    def __init__(
        self, model: Any, tokenizer: Any, info: BackboneInfo, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._info = info
        self._mean, self._std = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (mean, std))

    @property
    def info(self) -> BackboneInfo:
        """Facts that decide the embeddings."""
        return self._info

    def to(self, device: torch.device | str) -> ClipBackbone:
        """Moves the weights, like a torch module, and returns this same object."""
        self._model.to(device)
        return self

    @torch.no_grad()
    def encode_image(self, images: torch.Tensor) -> Grids:
        """Dense embeddings by the value path, and the sum of all layers.

        A side that is no multiple of the patch size is resized (bicubic) up to the next multiple, so that the
        gh = ceil(h / stride) by gw = ceil(w / stride) cells cover the whole image evenly. The position
        embeddings are interpolated (bicubic) to that grid; the image keeps its scale.

        Args:
            images: RGB uint8 [b, 3, h, w] on any device.

        Returns:
            ``aligned`` float32 [b, d, gh, gw], unit length along d; ``layers`` float32 [b, d_v, gh, gw], the
            sum over the blocks l of their output at the patch tokens, without CLS: P = sum_l P^l. Both on the
            device of ``images``.
        """
        vision = self._model.vision_model
        pixels = self._normalised(images)
        gh, gw = (side // self._info.stride for side in pixels.shape[-2:])
        states = vision(pixels, interpolate_pos_encoding=True, output_hidden_states=True).hidden_states
        last = vision.encoder.layers[-1]
        values = last.self_attn.v_proj(last.layer_norm1(states[-2][:, 1:]))
        tokens = self._model.visual_projection(vision.post_layernorm(last.self_attn.out_proj(values)))
        layers = sum(states[2:], states[1])[:, 1:]
        aligned, layers = (t.mT.unflatten(2, (gh, gw)).to(images.device) for t in (tokens, layers))
        return Grids(F.normalize(aligned, dim=1), layers.contiguous())

    @torch.no_grad()
    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """Text embeddings.

        A text longer than the model's context is never cut: it is parted at the sentence, clause or word
        border nearest to its middle until all pieces fit. Its embedding is the mean of the unit embeddings of
        the pieces, weighted by their numbers of tokens, scaled back to unit length.

        Args:
            sentences: n texts of any length.

        Returns:
            Float32 [n, d], unit length, on the device of the weights.
        """
        pieces = [(i, self._tokens(p)) for i, s in enumerate(sentences) for p in split_text(s, self._fits)]
        pieces.sort(key=lambda piece: len(piece[1]))  # stable; equal lengths need no padding
        device = self._model.logit_scale.device
        total = torch.zeros(len(sentences), self._info.dim, device=device)
        for length, group in groupby(pieces, key=lambda piece: len(piece[1])):
            same = list(group)
            for batch in (same[k : k + TEXT_BATCH] for k in range(0, len(same), TEXT_BATCH)):
                ids = torch.tensor([tokens for _, tokens in batch], device=device)
                pooled = self._model.text_projection(self._model.text_model(ids).pooler_output)
                for (owner, _), unit in zip(batch, F.normalize(pooled, dim=-1), strict=True):
                    total[owner] += unit * length  # one by one: adding in parallel has no fixed order
        return F.normalize(total, dim=-1)

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        """RGB uint8 [b, 3, h, w] to normalised float32 of whole patches, on the model's device."""
        stride = self._info.stride
        pixels = images.to(self._model.logit_scale.device).float() / 255
        size = [math.ceil(side / stride) * stride for side in pixels.shape[-2:]]
        if size != list(pixels.shape[-2:]):
            pixels = F.interpolate(pixels, size=size, mode="bicubic", align_corners=False).clamp(0, 1)
        return (pixels - self._mean.to(pixels.device)) / self._std.to(pixels.device)

    def _tokens(self, text: str) -> list[int]:
        """Token ids of a text with start and end token, never truncated."""
        ids: list[int] = self._tokenizer(text, truncation=False, padding=False, verbose=False)["input_ids"]
        return ids

    def _fits(self, text: str) -> bool:
        context: int = self._model.config.text_config.max_position_embeddings
        return len(self._tokens(text)) <= context


def split_text(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Part a text into pieces that fit, at the best border nearest to its middle.

    Args:
        text: Any text; a single word that does not fit is parted between letters.
        fits: Says whether a piece is short enough; true for a single letter.

    Returns:
        Pieces in order; without spaces they make up the text without spaces. One piece if the text fits.
    """
    if fits(text) or len(text.strip()) < 2:
        return [text]
    text = text.strip()
    middle = len(text) / 2
    for border in BORDERS:
        cuts = [m.span() for m in re.finditer(border, text)]
        if cuts:
            start, end = min(cuts, key=lambda cut: abs(sum(cut) / 2 - middle))
            break
    else:
        start = end = len(text) // 2
    return split_text(text[:start], fits) + split_text(text[end:], fits)


def load_clip(source: str, device: str = "cpu") -> ClipBackbone:
    """Load a CLIP model, its tokenizer and its image statistics. Only safetensors weights, never a pickle.

    Args:
        source: A folder saved by transformers, or a hub id, optionally with a revision: ``ID@REVISION``.
        device: Where it computes.

    Returns:
        The backbone. Its revision is the commit hash on the hub; for a folder a SHA-256 of all files used.

    Raises:
        InputError: No such folder or id, hub not reachable, access refused, not a CLIP model, or files are
            missing, damaged or do not belong together.
        MissingExtraError: transformers is not installed.
    """
    if importlib.util.find_spec("transformers") is None:
        raise MissingExtraError("hf", f"the backbone 'hf:{source}'")
    folder, revision = locate_files(source)
    check_files(folder, source)
    mean, std = image_statistics(folder, source)
    model, tokenizer = _load(folder, source)
    info = BackboneInfo(
        locator=f"hf:{source}",
        revision=revision,
        method="value",
        dim=model.config.projection_dim,
        layer_dim=model.config.vision_config.hidden_size,
        stride=model.config.vision_config.patch_size,
        logit_scale=min(model.logit_scale.exp().item(), MAX_LOGIT_SCALE),
    )
    return ClipBackbone(model, tokenizer, info, mean, std).to(device)


def _load(folder: Path, source: str) -> tuple[Any, Any]:
    """(model, tokenizer) from a folder whose files are all there; no network."""
    transformers: Any = importlib.import_module("transformers")
    hub_errors: Any = importlib.import_module("huggingface_hub.errors")
    safetensors: Any = importlib.import_module("safetensors")
    deliberate = (
        safetensors.SafetensorError,
        hub_errors.StrictDataclassError,
    )  # bad weights, bad configuration
    try:
        with _quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model, report = transformers.CLIPModel.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, *deliberate) as error:
        raise InputError(f"cannot be loaded: {' '.join(str(error).split())}", where=source) from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise InputError(f"the weights lack {len(missing)} tensors, {missing[0]} for one", where=source)
    text = model.config.text_config
    # 2 is what old configurations say; transformers then takes the highest id for the end of the text.
    ends = tokenizer("a")["input_ids"][-1:] == [tokenizer.eos_token_id]
    if len(tokenizer) > text.vocab_size or text.eos_token_id not in (2, tokenizer.eos_token_id) or not ends:
        fix = "Take weights and tokenizer from the same model"
        raise InputError("the tokenizer does not belong to the weights", where=source, fix=fix)
    return model, tokenizer


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
