"""What every backbone promises, as checks that can be called on any: ``check_backbone(lambda: my_backbone())``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aczerots.backbones.base import Backbone

SENTENCES = [
    "tumor cells in nests",
    "a",
    "Pale, empty-looking fat cells with thin walls.",
    "small round lymphocytes with dark nuclei and hardly any cytoplasm, close together. " * 4,
]


def images(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def assert_unit(vectors: torch.Tensor, dim: int) -> None:
    lengths = vectors.norm(dim=dim)
    torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=1e-5, rtol=0)


def is_a_backbone(backbone: Backbone, again: Backbone) -> None:
    assert isinstance(backbone, Backbone)


def facts(backbone: Backbone, again: Backbone) -> None:
    info = backbone.info
    assert min(info.dim, info.layer_dim, info.stride) >= 1
    assert 0 < info.logit_scale < 200
    assert info.revision
    assert info.mpp is None or info.mpp > 0


def hash_is_stable(backbone: Backbone, again: Backbone) -> None:
    assert re.fullmatch("[0-9a-f]{16}", backbone.info.hash)
    assert again.info.hash == backbone.info.hash


def shapes_and_unit_vectors_for_any_side(backbone: Backbone, again: Backbone) -> None:
    info = backbone.info

    @settings(max_examples=8, deadline=None)
    @given(height=st.integers(16, 100), width=st.integers(16, 100))
    def hold(height: int, width: int) -> None:
        features = backbone.encode_image(images(2, 3, height, width))
        cells = (math.ceil(height / info.stride), math.ceil(width / info.stride))
        assert features.aligned.shape == (2, info.dim, *cells)
        assert features.layers.shape == (2, info.layer_dim, *cells)
        assert features.aligned.dtype == features.layers.dtype == torch.float32
        assert torch.isfinite(features.layers).all()
        assert_unit(features.aligned, dim=1)

    hold()


def one_colour_gives_unit_vectors(backbone: Backbone, again: Backbone) -> None:
    """Empty glass and pure black have no texture to divide by."""
    flat = torch.stack([torch.full((3, 64, 64), value, dtype=torch.uint8) for value in (0, 255)])
    features = backbone.encode_image(flat)
    assert_unit(features.aligned, dim=1)
    assert torch.isfinite(features.layers).all()


def images_are_deterministic(backbone: Backbone, again: Backbone) -> None:
    pixels = images(2, 3, 64, 48)
    first, second, other = (b.encode_image(pixels) for b in (backbone, backbone, again))
    for found in (second, other):
        assert torch.equal(first.aligned, found.aligned)
        assert torch.equal(first.layers, found.layers)


def batch_equals_singles(backbone: Backbone, again: Backbone) -> None:
    pixels = images(3, 3, 64, 48)
    batch = backbone.encode_image(pixels)
    for i in range(3):
        single = backbone.encode_image(pixels[i : i + 1])
        torch.testing.assert_close(batch.aligned[i], single.aligned[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(batch.layers[i], single.layers[0], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(batch.aligned[0], batch.aligned[1], atol=1e-3)


def rows_are_rows(backbone: Backbone, again: Backbone) -> None:
    """Changing the top left corner moves the top left features more than the others on average."""
    side = 8 * backbone.info.stride
    before = images(1, 3, side, side)
    after = before.clone()
    after[..., : side // 4, : side // 2] = 255 - after[..., : side // 4, : side // 2]
    moved = (backbone.encode_image(after).aligned - backbone.encode_image(before).aligned).square().sum(1)[0]
    inside = moved[:2, :4].mean()
    assert inside > moved[4:].mean()
    assert inside > moved[:2, 6:].mean()


def input_is_left_alone(backbone: Backbone, again: Backbone) -> None:
    pixels = images(1, 3, 50, 50)
    kept = pixels.clone()
    backbone.encode_image(pixels)
    assert torch.equal(pixels, kept)


def text_is_unit_and_deterministic(backbone: Backbone, again: Backbone) -> None:
    first = backbone.encode_text(SENTENCES)
    assert first.shape == (len(SENTENCES), backbone.info.dim)
    assert first.dtype == torch.float32
    assert_unit(first, dim=1)
    assert torch.equal(first, backbone.encode_text(SENTENCES))
    assert torch.equal(first, again.encode_text(SENTENCES))


def same_text_same_vector_in_any_batch(backbone: Backbone, again: Backbone) -> None:
    together = backbone.encode_text(SENTENCES)
    for i, sentence in enumerate(SENTENCES):
        torch.testing.assert_close(backbone.encode_text([sentence])[0], together[i], atol=1e-6, rtol=0)
    backwards = backbone.encode_text([*SENTENCES[::-1], SENTENCES[0]])
    torch.testing.assert_close(backwards[:-1].flip(0), together, atol=1e-6, rtol=0)
    torch.testing.assert_close(backwards[-1], together[0], atol=1e-6, rtol=0)
    assert not torch.allclose(together[0], together[2], atol=1e-3)


def no_gradients_and_no_randomness(backbone: Backbone, again: Backbone) -> None:
    state = torch.random.get_rng_state()
    features, text = backbone.encode_image(images(1, 3, 32, 32)), backbone.encode_text(["fat"])
    assert not any(tensor.requires_grad for tensor in (features.aligned, features.layers, text))
    assert torch.equal(torch.random.get_rng_state(), state)


def to_keeps_the_embeddings(backbone: Backbone, again: Backbone) -> None:
    moved = backbone.to("cpu")
    assert moved.info == backbone.info
    assert torch.equal(moved.encode_text(SENTENCES[:2]), backbone.encode_text(SENTENCES[:2]))


Check = Callable[[Backbone, Backbone], None]

CHECKS: tuple[Check, ...] = (
    is_a_backbone,
    facts,
    hash_is_stable,
    shapes_and_unit_vectors_for_any_side,
    one_colour_gives_unit_vectors,
    images_are_deterministic,
    batch_equals_singles,
    rows_are_rows,
    input_is_left_alone,
    text_is_unit_and_deterministic,
    same_text_same_vector_in_any_batch,
    no_gradients_and_no_randomness,
    to_keeps_the_embeddings,
)
"""All that is promised; each check takes a backbone and the same one opened anew."""


def check_backbone(opened: Callable[[], Backbone]) -> None:
    """Every check, for the tests of a package that brings a backbone."""
    backbone, again = opened(), opened()
    for check in CHECKS:
        check(backbone, again)
