"""CONCH against the same parts of other authors: timm's trunk, open_clip's pool and text transformer.

CONCH's own package is a fork of open_clip's CoCa on a timm trunk, so that these parts, filled with the same
checkpoint, must give the same embeddings.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from open_clip.transformer import AttentionalPooler, TextTransformer
from timm.models.vision_transformer import VisionTransformer
from tiny_conch import CONTEXT, DIM, GRID, LAYERS, PATCH, WIDTH, conch_state, save_tiny_conch

from aczerots.backbones.conch import Conch, build_conch, load_conch
from aczerots.backbones.locator import parse_locator


def part(prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in conch_state().items() if k.startswith(prefix)}


@pytest.fixture(scope="module")
def ours() -> Conch:
    return build_conch(conch_state(), "conch")


@pytest.fixture(scope="module")
def trunk() -> VisionTransformer:
    size = {"embed_dim": WIDTH, "depth": LAYERS, "num_heads": WIDTH // 64, "img_size": GRID * PATCH}
    model = VisionTransformer(**size, patch_size=PATCH, num_classes=0, dynamic_img_size=True)
    model.load_state_dict(part("visual.trunk."))
    return model.eval()


@pytest.fixture(scope="module")
def pool() -> AttentionalPooler:
    model = AttentionalPooler(DIM, WIDTH, n_head=8, n_queries=1)
    model.load_state_dict(part("visual.attn_pool_contrast."))
    return model.eval()


def finish(pooled: torch.Tensor) -> torch.Tensor:
    """Upstream's last steps: layer norm and projection."""
    state = conch_state()
    weight, bias = (state[f"visual.ln_contrast.{name}"] for name in ("weight", "bias"))
    return torch.nn.functional.layer_norm(pooled, (DIM,), weight, bias) @ state["visual.proj_contrast"]


@pytest.mark.parametrize("grid", [(GRID, GRID), (GRID + 2, GRID - 1)])
@torch.no_grad()
def test_pooled_image(ours: Conch, trunk: VisionTransformer, pool: AttentionalPooler, grid: tuple[int, int]) -> None:
    pixels = torch.randn(2, 3, *(PATCH * cells for cells in grid))
    expected = finish(pool(trunk.forward_features(pixels))[:, 0])
    visual, own = ours.visual, ours.visual.attn_pool_contrast
    tokens = own["ln_k"](visual.trunk.norm(visual.trunk.states(pixels)[-1]))
    query = pool.ln_q(pool.query).expand(2, -1, -1)
    gathered = own["attn"](query, tokens, tokens, need_weights=False)[0][:, 0]
    torch.testing.assert_close(visual.ln_contrast(gathered) @ visual.proj_contrast, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_text_of_every_length(ours: Conch) -> None:
    text = TextTransformer(
        context_length=CONTEXT - 1,
        vocab_size=300,
        width=WIDTH,
        heads=WIDTH // 64,
        layers=LAYERS,
        output_dim=DIM,
        embed_cls=True,
    )
    text.load_state_dict(part("text."))
    text.eval()
    for length in (2, 3, 17, CONTEXT - 2, CONTEXT - 1):
        ids = torch.randint(3, 300, (3, length))
        padded = torch.nn.functional.pad(ids, (0, CONTEXT - 1 - length))
        torch.testing.assert_close(ours.text(ids), text(padded), atol=1e-5, rtol=0)


@torch.no_grad()
def test_dense_tokens_are_pooled_one_by_one(ours: Conch, trunk: VisionTransformer, pool: AttentionalPooler) -> None:
    pixels = torch.randn(1, 3, GRID * PATCH, GRID * PATCH)
    tokens = trunk.forward_features(pixels)[0, 1:, None]  # every token is an image of its own
    expected = finish(pool(tokens)[:, 0])
    torch.testing.assert_close(ours.visual.tower().dense("value", pixels)[0][0], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_backbone_gives_upstream_s_unit_vectors(
    tmp_path: Path, trunk: VisionTransformer, pool: AttentionalPooler
) -> None:
    backbone = load_conch(parse_locator(f"conch:{save_tiny_conch(tmp_path)}"))
    image = torch.randint(0, 256, (1, 3, GRID * PATCH, GRID * PATCH), dtype=torch.uint8)
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    pixels = (image / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    tokens = finish(pool(trunk.forward_features(pixels)[0, 1:, None])[:, 0])
    expected = torch.nn.functional.normalize(tokens, dim=-1).T.unflatten(1, (GRID, GRID))
    torch.testing.assert_close(backbone.encode_image(image).aligned[0], expected, atol=1e-5, rtol=0)
