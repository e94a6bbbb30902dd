"""KEEP against timm's ViT, transformers' BERT and tokenizer, put together as its model card describes."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from tiny_conch import GRID, LAYERS, PATCH
from tiny_keep import HIDDEN, TEXT, WIDTH, keep_state, save_tiny_keep, text_config
from torch import nn
from transformers import BertConfig, BertModel, BertTokenizer

from aczerots.backbones.keep import build_keep, load_keep
from aczerots.backbones.locator import parse_locator


class Upstream(nn.Module):
    """The published composition, tiny."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = timm.create_model(
            "vit_large_patch16_224",
            img_size=GRID * PATCH,
            patch_size=PATCH,
            embed_dim=WIDTH,
            depth=LAYERS,
            num_heads=WIDTH // 64,
            init_values=1e-5,
            num_classes=0,
            dynamic_img_size=True,
        )
        self.visual_head = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, TEXT))
        self.text = BertModel(BertConfig(**text_config()))
        self.logit_scale = nn.Parameter(torch.ones(()))


def upstream() -> Upstream:
    model = Upstream()
    model.load_state_dict(keep_state(), strict=True)
    return model.eval()


@torch.no_grad()
def test_pooled_image() -> None:
    ours = build_keep(BertConfig(**text_config()), keep_state(), "keep")
    theirs = upstream()
    for grid in ((GRID, GRID), (GRID + 1, GRID + 3)):
        pixels = torch.randn(2, 3, *(PATCH * cells for cells in grid))
        expected = nn.functional.normalize(theirs.visual_head(theirs.visual(pixels)), dim=-1)
        tokens = ours.visual.norm(ours.visual.states(pixels)[-1])
        found = nn.functional.normalize(ours.visual_head(tokens[:, 0]), dim=-1)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_text(tmp_path: Path) -> None:
    folder = save_tiny_keep(tmp_path)
    backbone, theirs = load_keep(parse_locator(f"keep:{folder}")), upstream()
    texts = ["Tumour cells, a gland.", "a", "xyz Gland"]
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True)
    batch = tokenizer(texts, padding="max_length", max_length=24, truncation=True, return_tensors="pt")
    expected = nn.functional.normalize(theirs.text(**batch).pooler_output, dim=-1)
    torch.testing.assert_close(backbone.encode_text(texts), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_value_tokens_of_timm_s_last_block() -> None:
    ours = build_keep(BertConfig(**text_config()), keep_state(), "keep")
    theirs = upstream()
    pixels = torch.randn(1, 3, GRID * PATCH, GRID * PATCH)
    tokens = theirs.visual.forward_intermediates(pixels, indices=[LAYERS - 2], norm=False, output_fmt="NLC")[1][0]
    last = theirs.visual.blocks[-1]
    alone = last.ls1(last.attn(last.norm1(tokens[0][:, None])))  # a token that sees only itself
    expected = theirs.visual_head(theirs.visual.norm(alone))[:, 0]
    torch.testing.assert_close(ours.image_tower().dense("value", pixels)[0][0], expected, atol=1e-5, rtol=0)
