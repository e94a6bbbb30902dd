"""Embedding throughput as a fraction of the bare forward pass of the same model in the same run.

    python -m benchmarks.throughput [--device cpu] [--precision fp32] [--rounds 5]

Bare: the model's own vision forward pass as transformers runs it, on normalised pixels that are already on the device,
in batches of the same size, one after the other. Embedding: ``FeatureStore.fill`` on the same number of tiles of slides
in memory without a cache: reading, preprocessing, dense tokens, layers, float16, copies. Both are timed in turns and
compared by their medians. Weights are random: they do not change the work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aczerots.backbones.cache import FeatureStore
from aczerots.backbones.loader import batch_size
from aczerots.backbones.locate import locate_backbone, locate_device
from aczerots.backbones.options import BackboneOptions
from aczerots.slides.base import Box, Tile
from aczerots.slides.image import ArraySlide

SIDE = 224
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Model:
    """A model to time: its family and the sizes of its vision tower."""

    name: str
    family: str
    width: int
    blocks: int
    heads: int
    patch: int
    locator: str = "#value"


MODELS = (
    Model("toy CLIP, 64 wide, 3 blocks", "CLIP", 64, 3, 2, 32),
    Model("toy SigLIP, 64 wide, 3 blocks", "Siglip", 64, 3, 2, 16),
    Model("tiny CLIP, ViT-Ti/16", "CLIP", 192, 12, 3, 16),
    Model("tiny SigLIP, ViT-Ti/16", "Siglip", 192, 12, 3, 16),
    Model("CLIP ViT-B/32", "CLIP", 768, 12, 12, 32),
    Model("CLIP ViT-B/32, qq+kk", "CLIP", 768, 12, 12, 32, "#qq+kk"),
    Model("SigLIP B/16", "Siglip", 768, 12, 12, 16),
)


def save(model: Model, folder: Path) -> Path:
    """Write a model with random weights and a tokenizer of letters as transformers would."""
    import transformers
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    vocab = {token: i for i, token in enumerate(["<unk>", "</s>", *map(chr, range(97, 123))])}
    letters = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    letters.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    letters.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="</s>", pad_token="</s>")
    vision = {
        "hidden_size": model.width,
        "intermediate_size": 4 * model.width,
        "num_hidden_layers": model.blocks,
        "num_attention_heads": model.heads,
        "image_size": SIDE,
        "patch_size": model.patch,
    }
    text = {"hidden_size": model.width, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": len(vocab)}
    text |= {"eos_token_id": 1, "bos_token_id": 1, "pad_token_id": 1}
    config = getattr(transformers, f"{model.family}Config")(vision_config=vision, text_config=text)
    torch.manual_seed(0)
    getattr(transformers, f"{model.family}Model")(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of transformers."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()


def synchronised(device: str, work: Callable[[], object]) -> float:
    """Seconds that some work takes, to its end on the device."""
    if device != "cpu":
        torch.accelerator.synchronize()
    started = time.perf_counter()
    work()
    if device != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - started


def measure(model: Model, device: str, precision: Any, rounds: int) -> dict[str, Any]:
    """Tiles per second bare and embedded, and their ratio."""
    import transformers

    with tempfile.TemporaryDirectory() as place, quiet():
        folder = save(model, Path(place))
        backbone = locate_backbone(f"hf:{folder}{model.locator}", device, BackboneOptions(precision=precision))
        upstream = getattr(transformers, f"{model.family}Model").from_pretrained(folder).vision_model.to(device).eval()
    size = batch_size(backbone.info, SIDE, torch.device(device))
    count = size * (4 if model.width > 100 else 16) * (1 if device == "cpu" else 8)
    noise = np.random.default_rng(0).integers(0, 255, (SIDE * 8, SIDE * 8, 3), dtype=np.uint8)
    slides = {f"s{i}": ArraySlide(f"s{i}", np.roll(noise, i, axis=1)) for i in range(-(-count // 64))}
    boxes = [Box(x * SIDE, y * SIDE, SIDE, SIDE) for y in range(8) for x in range(8)]
    tiles = [Tile(name, box, box, SIDE) for name in slides for box in boxes][:count]
    pixels = torch.randn(size, 3, SIDE, SIDE, device=device)

    @torch.no_grad()
    def bare() -> None:
        with torch.autocast(device, TYPES[precision], enabled=precision != "fp32"):
            for _ in range(count // size):
                upstream(pixels)

    def embedded() -> None:
        FeatureStore(tiles, slides, backbone, None).fill()

    bare()
    embedded()
    times = [(synchronised(device, bare), synchronised(device, embedded)) for _ in range(rounds)]
    one, other = (statistics.median(column) for column in zip(*times, strict=True))
    return {
        "model": model.name,
        "batch": size,
        "tiles": count,
        "bare_per_second": round(count / one, 1),
        "embedded_per_second": round(count / other, 1),
        "ratio": round(one / other, 3),
    }


def main() -> None:
    """Print a line of JSON per model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32", choices=TYPES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="part of a model's name")
    options = parser.parse_args()
    device = locate_device(options.device)
    for model in MODELS:
        if options.only is None or options.only in model.name:
            row = measure(model, device, options.precision, options.rounds)
            print(json.dumps({"device": device, "precision": options.precision} | row), flush=True)


if __name__ == "__main__":
    main()
