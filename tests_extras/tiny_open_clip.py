"""Tiny models of open_clip with random weights, saved by open_clip's own code for the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.push_to_hf_hub import save_for_hf
from tiny_keep import WORDS

TEXT = {"vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VISION = {"image_size": 32, "layers": 3, "width": 64, "head_width": 32, "patch_size": 8}

CONFIGS: dict[str, dict[str, Any]] = {
    "quiltnet": {"embed_dim": 16, "quick_gelu": True, "vision_cfg": VISION, "text_cfg": {**TEXT, "context_length": 77}},
    "scaled, mean of patches": {
        "embed_dim": 16,
        "custom_text": True,
        "vision_cfg": {**VISION, "pool_type": "avg", "ls_init_value": 0.5, "no_ln_pre": True},
        "text_cfg": {**TEXT, "context_length": 32, "no_causal_mask": True, "pool_type": "last", "proj_bias": True},
    },
    "coca": {
        "embed_dim": 16,
        "vision_cfg": {**VISION, "attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True},
        "text_cfg": {**TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {**TEXT, "context_length": 76, "attn_pooler_heads": 4},
        "custom_text": True,
    },
    "biomedclip": {
        "embed_dim": 16,
        "vision_cfg": {"timm_model_name": "test_vit", "timm_proj": "linear", "timm_pool": "", "image_size": 160},
        "text_cfg": {"hf_proj_type": "mlp", "hf_pooler_type": "cls_last_hidden_state_pooler", "context_length": 256},
    },
    "map": {
        "embed_dim": 96,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": {"timm_model_name": "test_vit3", "timm_proj": "none", "timm_pool": "map", "image_size": 160},
        "text_cfg": {**TEXT, "context_length": 20, "pool_type": "last", "no_causal_mask": True, "proj_bias": True},
    },
}
"""As published, made small: QuiltNet B-32 and B-16, CoCa, BiomedCLIP and QuiltNet PMB, and as SigLIP pools."""

STATISTICS = {"mean": [0.7, 0.5, 0.6], "std": [0.2, 0.25, 0.15]}


def save_bert(folder: Path) -> Path:
    """Configuration and tokenizer of a tiny BERT, the part of PubMedBERT that open_clip asks the hub for."""
    from transformers import BertConfig, BertTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "words.txt"
    vocabulary.write_text("\n".join(WORDS), encoding="utf-8")
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    BertConfig(vocab_size=len(WORDS), max_position_embeddings=256, **size).save_pretrained(folder)
    BertTokenizer(str(vocabulary)).save_pretrained(folder)
    vocabulary.unlink()
    return folder


def save_tiny(name: str, folder: Path, *, safe: bool = True, seed: int = 0) -> Path:
    """Write one of ``CONFIGS`` with random weights to ``folder`` as open_clip publishes its models."""
    config = json.loads(json.dumps(CONFIGS[name]))
    if "hf_proj_type" in config["text_cfg"]:
        bert = str(save_bert(folder.parent / f"{folder.name}-bert"))
        config["text_cfg"] |= {"hf_model_name": bert, "hf_tokenizer_name": bert}
    source = folder.parent / f"{folder.name}-config"
    source.mkdir(parents=True)
    (source / f"tiny-{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(source)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.create_model(f"tiny-{name}", pretrained_text=False, force_preprocess_cfg=STATISTICS)
        for parameter in model.parameters():  # biases and norms start at 0 and 1 and would hide mistakes
            parameter.data += 0.1 * torch.randn_like(parameter)
    tokenizer = open_clip.get_tokenizer(f"tiny-{name}")
    if not hasattr(tokenizer, "save_pretrained"):  # open_clip's own needs no file
        tokenizer.save_pretrained = lambda folder: None
    save_for_hf(model, tokenizer, config, str(folder), safe_serialization=safe)
    return folder
