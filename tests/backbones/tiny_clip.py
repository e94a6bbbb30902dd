"""A tiny CLIP with random weights and a byte-level tokenizer, in a folder as transformers writes one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

START, END = "<|startoftext|>", "<|endoftext|>"
PATCH, SIDE, CONTEXT, DIM, WIDTH = 8, 32, 24, 12, 24


def make_tokenizer() -> Any:
    """CLIP's byte-level BPE with every byte and two merges: any text, about one token a letter."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "tu", "tum", START, END]
    vocab = {token: i for i, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=[("t", "u"), ("tu", "m")])


def save_tiny_clip(folder: Path, layers: int = 3, seed: int = 0) -> Path:
    """Write model, tokenizer and image statistics (not CLIP's own) to ``folder``."""
    from transformers import CLIPConfig, CLIPModel

    tokenizer = make_tokenizer()
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    vision = {
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": PATCH,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=DIM))
        for parameter in model.parameters():  # biases and norms start at 0 and 1 and would hide mistakes
            parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    statistics = {"image_mean": [0.7, 0.5, 0.6], "image_std": [0.2, 0.25, 0.15]}
    (folder / "preprocessor_config.json").write_text(json.dumps(statistics))
    return folder
