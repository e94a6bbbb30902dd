"""Tiny vision-only transformers with random weights, in folders as transformers writes them."""

from __future__ import annotations

import json
from pathlib import Path

import torch

WIDTH = 16
PATCHES = {"dinov2": 14, "dinov2_with_registers": 14, "dinov3_vit": 16, "vit": 8}


def save_tiny_dino(folder: Path, kind: str = "dinov2", patch: int | None = None) -> Path:
    """Write a model of a kind to ``folder``."""
    import transformers

    names = {
        "dinov2": "Dinov2",
        "dinov2_with_registers": "Dinov2WithRegisters",
        "dinov3_vit": "DINOv3ViT",
        "vit": "ViT",
    }
    size = patch or PATCHES[kind]
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = getattr(transformers, f"{names[kind]}Config")(**sizes, image_size=2 * size, patch_size=size)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, f"{names[kind]}Model")(config)
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    return folder
