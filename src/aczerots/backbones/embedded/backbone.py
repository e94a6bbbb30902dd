"""The backbone that ships with the package and needs no download."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from aczerots.backbones.base import BackboneInfo, DenseFeatures
from aczerots.backbones.embedded.morphology import CELL, measure, measurement_names
from aczerots.backbones.embedded.stain import Stain, measure_stain
from aczerots.backbones.embedded.towers import DIM, LAYER_DIM, ImageTower, TextTower
from aczerots.errors import InputError

FORMAT = "aczerots-embedded-1"
"""Version of the weights file, in its metadata under ``format``."""

STRIDE = 16
_BUNDLED = Path(__file__).with_name("weights.safetensors")
_CHUNK = 8
_CHUNK_PIXELS = _CHUNK * 224**2
_REACH = 80


def pooled(images: torch.Tensor, stain: Stain | None = None) -> torch.Tensor:
    """Measurements per feature cell of the backbone.

    Args:
        images: RGB uint8 [b, 3, h, w]; the last row and column are repeated to fill the last cells.
        stain: Of the slide; None normalises each image by itself.

    Returns:
        Float32 [b, m, ceil(h / 16), ceil(w / 16)].
    """
    rows, columns = (torch.arange(n + -n % STRIDE, device=images.device).clamp(max=n - 1) for n in images.shape[-2:])
    return F.avg_pool2d(measure(images[..., rows, :][..., columns], stain), STRIDE // CELL)


class EmbeddedBackbone:
    """Small image-text model for H&E, trained by this project.

    Args:
        weights: A file written by ``python -m tools.train_embedded``; None takes the bundled one.

    Raises:
        InputError: The file is missing, damaged, of another version or not safetensors.
    """

    def __init__(self, weights: Path | None = None) -> None:
        path = _BUNDLED if weights is None else weights
        self._image, self._text, self._info = _load(path)
        self._device = torch.device("cpu")
        self._stain: Stain | None = None

    @property
    def info(self) -> BackboneInfo:
        """Facts that decide the embeddings."""
        return self._info

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device

    @property
    def reach(self) -> int:
        """Pixels around a feature cell that its measurements are averaged over, as far as they count."""
        return _REACH

    def on_slide(self, sample: torch.Tensor) -> EmbeddedBackbone:
        """The same backbone with all images normalised by the stain of a slide, from tiles RGB uint8 [n, 3, h, w]."""
        twin = copy.copy(self)
        twin._stain = measure_stain(sample)
        twin._info = replace(self._info, stain=twin._stain.hash)
        return twin

    @property
    def measurement_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Centre and scale of the morphological measurements over the training images, float [m] each."""
        return self._image.center.clone(), self._image.scale.clone()

    @torch.no_grad()
    def encode_image(self, images: torch.Tensor) -> DenseFeatures:
        """Dense features of stride 16, float32, of RGB uint8 [b, 3, h, w], on the device of the images."""
        # Windows of a slide may be large; of tiles always as many go together, since last digits depend on the number.
        number = _CHUNK if self._stain is None else max(1, _CHUNK_PIXELS // images[0, 0].numel())
        parts = [self._image(pooled(c.to(self._device), self._stain)) for c in torch.split(images, number)]
        return DenseFeatures(torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])).to(images.device)

    @torch.no_grad()
    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """Text embeddings float32 [n, d], unit length."""
        if not sentences:
            return torch.zeros(0, DIM, device=self._device)
        out: torch.Tensor = self._text(sentences)
        return out

    def to(self, device: torch.device | str) -> EmbeddedBackbone:
        """The same backbone on another device."""
        twin = copy.copy(self)
        twin._device = torch.device(device)
        twin._image = copy.deepcopy(self._image).to(device)
        twin._text = copy.deepcopy(self._text).to(device)
        return twin


def load_embedded() -> EmbeddedBackbone:
    """The bundled backbone."""
    return EmbeddedBackbone()


def _load(path: Path) -> tuple[ImageTower, TextTower, BackboneInfo]:
    from safetensors import SafetensorError, safe_open

    fix = "Reinstall aczerots, or train the weights again"
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            if meta.get("format") != FORMAT:
                found = meta.get("format", "none")
                raise InputError(f"weights of version {found}, needed is {FORMAT}", where=path, fix=fix)
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise InputError(f"the weights cannot be read: {error}", where=path, fix=fix) from error
    image, text = ImageTower(len(measurement_names())), TextTower()
    try:
        image.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("image.")})
        text.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("text.")})
        scale = float(meta["logit_scale"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise InputError("the weights do not fit the model", where=path, fix=fix) from error
    if not all(bool(torch.isfinite(v).all()) for v in state.values()):
        raise InputError("the weights do not fit the model: not all are finite", where=path, fix=fix)
    digest = hashlib.sha256()
    for key in sorted(state):  # the file may order them differently each time it is written
        digest.update(key.encode() + state[key].numpy().tobytes())
    revision = digest.hexdigest()[:16]
    info = BackboneInfo("embedded", revision, "morphology", DIM, LAYER_DIM, STRIDE, scale, 0.5)
    return image.eval().requires_grad_(False), text.eval().requires_grad_(False), info
