"""A tiny CONCH with random weights: a checkpoint with the published names and a tokenizer file, in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch

PATCH, GRID, CONTEXT, DIM, WIDTH, LAYERS = 8, 4, 40, 32, 128, 3
START, END, PAD = "<start_of_text>", "<end_of_text>", "<pad>"
TOKENIZER = "conch_byte_level_bpe_uncased.json"


def tokenizer_json() -> dict[str, object]:
    """Byte-level BPE of single bytes, lower case, with start and end: the form of the published file."""
    from tokenizers.pre_tokenizers import ByteLevel

    vocab = {token: i for i, token in enumerate((PAD, START, END, *sorted(ByteLevel.alphabet())))}
    marks = {name: {"id": name, "ids": [vocab[name]], "tokens": [name]} for name in (START, END)}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    single = [
        {"SpecialToken": {"id": START, "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": END, "type_id": 0}},
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": vocab[name], "content": name, **special} for name in (PAD, START, END)],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": marks},
        "decoder": None,
        "model": {"type": "BPE", "vocab": vocab, "merges": [], "fuse_unk": False},
    }


def conch_state(seed: int = 0, grid: int = GRID) -> dict[str, torch.Tensor]:
    """Random tensors under every name of the published checkpoint, the caption parts in a shortened form."""
    shapes: dict[str, tuple[int, ...]] = {
        "logit_scale": (),
        "visual.trunk.cls_token": (1, 1, WIDTH),
        "visual.trunk.pos_embed": (1, 1 + grid * grid, WIDTH),
        "visual.trunk.patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        "visual.trunk.patch_embed.proj.bias": (WIDTH,),
        **_norm("visual.trunk.norm", WIDTH),
        "visual.proj_contrast": (DIM, DIM),
        **_norm("visual.ln_contrast", DIM),
        **_pool("visual.attn_pool_contrast", DIM, 1),
        **_norm("visual.ln_caption", WIDTH),
        "visual.attn_pool_caption.query": (6, WIDTH),
        "text.text_projection": (WIDTH, DIM),
        "text.cls_emb": (WIDTH,),
        "text.token_embedding.weight": (300, WIDTH),
        "text.positional_embedding": (CONTEXT, WIDTH),
        **_norm("text.ln_final", WIDTH),
        "text_decoder.text_projection": (WIDTH, 300),
    }
    for i in range(LAYERS):
        block = f"visual.trunk.blocks.{i}."
        shapes |= {**_norm(f"{block}norm1", WIDTH), **_norm(f"{block}norm2", WIDTH)}
        shapes |= {**_linear(f"{block}attn.qkv", WIDTH, 3 * WIDTH), **_linear(f"{block}attn.proj", WIDTH, WIDTH)}
        shapes |= {**_linear(f"{block}mlp.fc1", WIDTH, 4 * WIDTH), **_linear(f"{block}mlp.fc2", 4 * WIDTH, WIDTH)}
        block = f"text.transformer.resblocks.{i}."
        shapes |= {**_norm(f"{block}ln_1", WIDTH), **_norm(f"{block}ln_2", WIDTH)}
        shapes |= {f"{block}attn.in_proj_weight": (3 * WIDTH, WIDTH), f"{block}attn.in_proj_bias": (3 * WIDTH,)}
        shapes |= _linear(f"{block}attn.out_proj", WIDTH, WIDTH)
        shapes |= {**_linear(f"{block}mlp.c_fc", WIDTH, 4 * WIDTH), **_linear(f"{block}mlp.c_proj", 4 * WIDTH, WIDTH)}
    generator = torch.Generator().manual_seed(seed)
    state = {name: 0.08 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for name in state:  # norms scatter about one, as trained ones do
        if "norm" in name or ".ln_" in name:
            state[name] += float(name.endswith("weight"))
    state["logit_scale"] = torch.tensor(3.0)
    return state


def _linear(name: str, inside: int, outside: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outside, inside), f"{name}.bias": (outside,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _pool(name: str, width: int, queries: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.query": (queries, width),
        f"{name}.attn.q_proj_weight": (width, width),
        f"{name}.attn.k_proj_weight": (width, WIDTH),
        f"{name}.attn.v_proj_weight": (width, WIDTH),
        f"{name}.attn.in_proj_bias": (3 * width,),
        **_linear(f"{name}.attn.out_proj", width, width),
        **_norm(f"{name}.ln_q", width),
        **_norm(f"{name}.ln_k", WIDTH),
    }


def save_tiny_conch(folder: Path, seed: int = 0, grid: int = GRID) -> Path:
    """Write checkpoint and tokenizer to ``folder``, under the published names."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(conch_state(seed, grid), folder / "pytorch_model.bin")
    (folder / TOKENIZER).write_text(json.dumps(tokenizer_json()), encoding="utf-8")
    return folder
