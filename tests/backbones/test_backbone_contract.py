"""What every backbone promises. A new backbone adds one entry to ``BACKBONES``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_clip import save_tiny_clip
from tiny_conch import save_tiny_conch
from tiny_keep import save_tiny_keep
from tiny_siglip import save_tiny_siglip

from aczerots.backbones.base import Backbone
from aczerots.backbones.locate import locate_backbone

SENTENCES = [
    "tumor cells in nests",
    "a",
    "Pale, empty-looking fat cells with thin walls.",
    "small round lymphocytes with dark nuclei and hardly any cytoplasm, close together. " * 4,
]


def open_tiny_clip(folder: Path) -> Backbone:
    return locate_backbone(f"hf:{save_tiny_clip(folder)}")


def open_clip_qq_kk(folder: Path) -> Backbone:
    return locate_backbone(f"hf:{save_tiny_clip(folder)}#qq+kk,whole")


def open_tiny_siglip(folder: Path) -> Backbone:
    return locate_backbone(f"hf:{save_tiny_siglip(folder)}")


def open_siglip_qq(folder: Path) -> Backbone:
    return locate_backbone(f"hf:{save_tiny_siglip(folder)}#qq")


def open_embedded(folder: Path) -> Backbone:
    from aczerots.backbones.embedded import load_embedded

    return load_embedded()


def open_tiny_conch(folder: Path) -> Backbone:
    return locate_backbone(f"conch:{save_tiny_conch(folder)}")


def open_tiny_keep(folder: Path) -> Backbone:
    return locate_backbone(f"keep:{save_tiny_keep(folder)}")


BACKBONES: dict[str, Callable[[Path], Backbone]] = {
    "clip": open_tiny_clip,
    "clip qq+kk whole": open_clip_qq_kk,
    "siglip": open_tiny_siglip,
    "siglip qq": open_siglip_qq,
    "conch": open_tiny_conch,
    "keep": open_tiny_keep,
}
if find_spec("aczerots.backbones.embedded") is not None:
    BACKBONES["embedded"] = open_embedded


@pytest.fixture(scope="module", params=BACKBONES)
def opener(request, tmp_path_factory) -> Callable[[], Backbone]:
    """Opens the same backbone anew."""
    folder = tmp_path_factory.mktemp("model")
    return lambda: BACKBONES[request.param](folder)


@pytest.fixture(scope="module")
def backbone(opener) -> Backbone:
    return opener()


def images(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def assert_unit(vectors: torch.Tensor, dim: int) -> None:
    lengths = vectors.norm(dim=dim)
    torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=1e-5, rtol=0)


def test_is_a_backbone(backbone):
    assert isinstance(backbone, Backbone)


def test_facts(backbone):
    info = backbone.info
    assert min(info.dim, info.layer_dim, info.stride) >= 1
    assert 0 < info.logit_scale < 200
    assert info.revision
    assert info.mpp is None or info.mpp > 0


def test_hash_is_stable(opener, backbone):
    assert re.fullmatch("[0-9a-f]{16}", backbone.info.hash)
    assert opener().info.hash == backbone.info.hash


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(16, 100), width=st.integers(16, 100))
def test_shapes_and_unit_vectors_for_any_side(backbone, height, width):
    info = backbone.info
    grids = backbone.encode_image(images(2, 3, height, width))
    cells = (math.ceil(height / info.stride), math.ceil(width / info.stride))
    assert grids.aligned.shape == (2, info.dim, *cells)
    assert grids.layers.shape == (2, info.layer_dim, *cells)
    assert grids.aligned.dtype == grids.layers.dtype == torch.float32
    assert torch.isfinite(grids.layers).all()
    assert_unit(grids.aligned, dim=1)


def test_one_colour_gives_unit_vectors(backbone):
    """Empty glass and pure black have no texture to divide by."""
    flat = torch.stack([torch.full((3, 64, 64), value, dtype=torch.uint8) for value in (0, 255)])
    grids = backbone.encode_image(flat)
    assert_unit(grids.aligned, dim=1)
    assert torch.isfinite(grids.layers).all()


def test_images_are_deterministic(opener, backbone):
    pixels = images(2, 3, 64, 48)
    first, second, other = (b.encode_image(pixels) for b in (backbone, backbone, opener()))
    for again in (second, other):
        assert torch.equal(first.aligned, again.aligned)
        assert torch.equal(first.layers, again.layers)


def test_batch_equals_singles(backbone):
    pixels = images(3, 3, 64, 48)
    batch = backbone.encode_image(pixels)
    for i in range(3):
        single = backbone.encode_image(pixels[i : i + 1])
        torch.testing.assert_close(batch.aligned[i], single.aligned[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(batch.layers[i], single.layers[0], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(batch.aligned[0], batch.aligned[1], atol=1e-3)


def test_rows_are_rows(backbone):
    """Changing the top left corner moves the top left cell more than the others on average."""
    side = 8 * backbone.info.stride
    before = images(1, 3, side, side)
    after = before.clone()
    after[..., : side // 4, : side // 2] = 255 - after[..., : side // 4, : side // 2]
    moved = (backbone.encode_image(after).aligned - backbone.encode_image(before).aligned).square().sum(1)[0]
    inside = moved[:2, :4].mean()
    assert inside > moved[4:].mean()
    assert inside > moved[:2, 6:].mean()


def test_input_is_left_alone(backbone):
    pixels = images(1, 3, 50, 50)
    kept = pixels.clone()
    backbone.encode_image(pixels)
    assert torch.equal(pixels, kept)


def test_text_is_unit_and_deterministic(opener, backbone):
    first = backbone.encode_text(SENTENCES)
    assert first.shape == (len(SENTENCES), backbone.info.dim)
    assert first.dtype == torch.float32
    assert_unit(first, dim=1)
    assert torch.equal(first, backbone.encode_text(SENTENCES))
    assert torch.equal(first, opener().encode_text(SENTENCES))


def test_same_text_same_vector_in_any_batch(backbone):
    together = backbone.encode_text(SENTENCES)
    for i, sentence in enumerate(SENTENCES):
        torch.testing.assert_close(backbone.encode_text([sentence])[0], together[i], atol=1e-6, rtol=0)
    backwards = backbone.encode_text([*SENTENCES[::-1], SENTENCES[0]])
    torch.testing.assert_close(backwards[:-1].flip(0), together, atol=1e-6, rtol=0)
    torch.testing.assert_close(backwards[-1], together[0], atol=1e-6, rtol=0)
    assert not torch.allclose(together[0], together[2], atol=1e-3)


def test_no_gradients_and_no_randomness(backbone):
    state = torch.random.get_rng_state()
    grids, text = backbone.encode_image(images(1, 3, 32, 32)), backbone.encode_text(["fat"])
    assert not any(tensor.requires_grad for tensor in (grids.aligned, grids.layers, text))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_to_keeps_the_embeddings(backbone):
    moved = backbone.to("cpu")
    assert moved.info == backbone.info
    assert torch.equal(moved.encode_text(SENTENCES[:2]), backbone.encode_text(SENTENCES[:2]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_gives_the_same(opener, backbone):
    on_gpu = opener().to("cuda")
    pixels = images(2, 3, 64, 48)
    expected, grids = backbone.encode_image(pixels), on_gpu.encode_image(pixels.cuda())
    assert grids.aligned.device.type == grids.layers.device.type == "cuda"
    torch.testing.assert_close(grids.aligned.cpu(), expected.aligned, atol=1e-3, rtol=0)
    torch.testing.assert_close(on_gpu.encode_text(SENTENCES).cpu(), backbone.encode_text(SENTENCES), atol=1e-3, rtol=0)
