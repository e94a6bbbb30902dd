"""A tiny KEEP with random weights in a folder, under the published names; text tower built by transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tiny_conch import conch_state

WIDTH, HIDDEN, TEXT = 128, 24, 32
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "tum", "##our", "cells", "gland", ".", ",", *"abcdefghijklmno")


def text_config() -> dict[str, Any]:
    """As in the published ``config.json``."""
    return {
        "vocab_size": len(WORDS),
        "hidden_size": TEXT,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": 24,
    }


def keep_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random tensors: trunk with layer scale, image head, BERT."""
    from transformers import BertConfig, BertModel

    trunk = "visual.trunk."
    state = {k.replace(trunk, "visual."): v for k, v in conch_state(seed).items() if k.startswith(trunk)}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for i in range(3):
            state |= {f"visual.blocks.{i}.ls{k}.gamma": 0.2 + torch.rand(WIDTH) for k in (1, 2)}
        state |= {"visual_head.0.weight": 0.1 * torch.randn(HIDDEN, WIDTH), "visual_head.0.bias": torch.randn(HIDDEN)}
        state |= {"visual_head.2.weight": torch.randn(TEXT, HIDDEN), "visual_head.2.bias": torch.randn(TEXT)}
        text = BertModel(BertConfig(**text_config()))
        state |= {f"text.{k}": v + 0.1 * torch.randn_like(v) for k, v in text.state_dict().items()}
    state["logit_scale"] = torch.tensor(3.2)
    return state


def save_tiny_keep(folder: Path, seed: int = 0) -> Path:
    """Write configuration, weights and vocabulary to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"model_type": "keep", "projection_dim": TEXT, "text_config": text_config(), "vision_config": {}}
    facts["auto_map"] = {"AutoModel": "modeling_keep.KEEPModel"}
    (folder / "config.json").write_text(json.dumps(facts))
    (folder / "modeling_keep.py").write_text("raise SystemExit('code of the repository was run')")
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    save_file(keep_state(seed), folder / "model.safetensors")
    return folder
