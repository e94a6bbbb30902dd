"""A model and small slides for tests of whole predictions, and how their results are compared."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from pyramids import write_svs

from aczerots.backbones.embedded import load_embedded
from aczerots.datasets.phantom.classes import phantom_taxonomy
from aczerots.predict.slide_map import MapOptions
from aczerots.prozs.checkpoint import ModelCard, save_model
from aczerots.prozs.presets import build_model, locate_preset
from aczerots.text.descriptions import describe_taxonomy
from aczerots.text.prototypes import text_prototypes

SMALL = MapOptions(probabilities=True, chunk=512, everywhere=True)


def save_zeroshot(path: Path) -> Path:
    """A zero-shot model."""
    backbone = load_embedded()
    taxonomy = describe_taxonomy(phantom_taxonomy(), "descriptions")
    words = text_prototypes(backbone, taxonomy)
    zeroshot = build_model(locate_preset("zeroshot"), backbone.info, words, torch.from_numpy(taxonomy.seen), 0)
    facts = {"backbone": backbone.info, "backbone_hash": backbone.info.hash, "tile_size": 96, "mpp": 0.5}
    save_model(path, zeroshot, ModelCard(preset="zeroshot", taxonomy=taxonomy, **facts))
    return path


def make_slides(folder: Path) -> list[Path]:
    """A slide of twelve chunks, nine of one, and one that cannot be read."""
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(60, 240, (50, 50, 3), dtype=np.uint8), np.ones((40, 40, 1), dtype=np.uint8))
    slides = [write_svs(folder / "large.svs", smooth[:2000, :1400], (4,))]
    slides += [write_svs(folder / f"s{i}.svs", smooth[i : 300 + i, :300], (4,)) for i in range(9)]
    bad = folder / "bad.svs"
    bad.write_bytes(slides[0].read_bytes()[:5000])
    return [*slides, bad]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
