"""A tiny SigLIP with random weights and a tokenizer of letters, in a folder as transformers writes one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

PATCH, SIDE, CONTEXT, WIDTH = 8, 32, 24, 16
SCALE, BIAS = 117.3, -12.9
"""About those of the published models."""

MEAN, STD = [0.5, 0.5, 0.5], [0.5, 0.4, 0.5]


def make_tokenizer() -> Any:
    """One token a letter, the end token last; the padding is the end token, as in SigLIP's own."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = [chr(i) for i in range(ord("a"), ord("z") + 1)]
    vocab = {token: i for i, token in enumerate(["<unk>", "</s>", " ", *letters])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", vocab["</s>"])])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>", pad_token="</s>", model_max_length=CONTEXT
    )


def save_tiny_siglip(folder: Path, layers: int = 3, side: int = SIDE, seed: int = 0) -> Path:
    """Write model, tokenizer and image statistics to ``folder``."""
    from transformers import SiglipConfig, SiglipModel

    tokenizer = make_tokenizer()
    sizes = {"hidden_size": WIDTH, "intermediate_size": 32, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": len(tokenizer), "num_hidden_layers": 2, "max_position_embeddings": CONTEXT}
    vision = {**sizes, "num_hidden_layers": layers, "image_size": side, "patch_size": PATCH}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
        for parameter in model.parameters():  # biases and norms start at 0 and 1 and would hide mistakes
            parameter.data += 0.2 * torch.randn_like(parameter)
        model.logit_scale.data.fill_(math.log(SCALE))
        model.logit_bias.data.fill_(BIAS)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    return folder
