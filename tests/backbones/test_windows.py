"""Windows over large images, with a stand-in for the model whose features can be computed by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from aczerots.backbones.base import DenseFeatures
from aczerots.backbones.preprocess import resize_to_stride
from aczerots.backbones.windows import encode_large

STRIDE, SIDE = 4, 16


def cellwise(pixels: torch.Tensor) -> DenseFeatures:
    """A model whose cells see nothing but themselves."""
    assert max(pixels.shape[-2:]) <= SIDE
    layers = F.avg_pool2d(pixels, STRIDE)
    return DenseFeatures(F.normalize(layers, dim=1), layers)


def context(pixels: torch.Tensor) -> DenseFeatures:
    """A model whose cells see the whole window."""
    layers = F.avg_pool2d(pixels, STRIDE)
    layers = layers + pixels.mean((2, 3), keepdim=True)
    return DenseFeatures(F.normalize(layers, dim=1), layers)


def noise(h: int, w: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, h, w, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25)
@given(rows=st.integers(1, 17), columns=st.integers(1, 17), overlap=st.sampled_from([0.0, 0.25, 0.5, 0.9]))
def test_where_cells_see_only_themselves_windows_change_nothing(rows, columns, overlap):
    pixels = noise(rows * STRIDE, columns * STRIDE)
    expected = F.avg_pool2d(pixels, STRIDE)
    # An image within the slack is done whole, so the model must stand it.
    features = encode_large(pixels, context_free, side=SIDE, stride=STRIDE, overlap=overlap)
    torch.testing.assert_close(features.layers, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(features.aligned, F.normalize(expected, dim=1), atol=1e-5, rtol=0)


def context_free(pixels: torch.Tensor) -> DenseFeatures:
    layers = F.avg_pool2d(pixels, STRIDE)
    return DenseFeatures(F.normalize(layers, dim=1), layers)


def test_without_overlap_the_grid_is_that_of_the_tiles_alone():
    pixels = noise(32, 48)
    features = encode_large(pixels, context, side=SIDE, stride=STRIDE, overlap=0)
    for top in (0, 16):
        for left in (0, 16, 32):
            alone = context(pixels[..., top : top + 16, left : left + 16])
            area = (..., slice(top // 4, top // 4 + 4), slice(left // 4, left // 4 + 4))
            torch.testing.assert_close(features.layers[area], alone.layers, atol=1e-6, rtol=0)
            torch.testing.assert_close(features.aligned[area], alone.aligned, atol=1e-6, rtol=0)


def test_overlapping_windows_are_blended_by_hand():
    """Six cells in a row, windows of four at 0 and 2: weights 1 2 2 1 each, so cell 2 is (2 a + 1 b) / 3."""
    pixels = noise(4, 24)
    features = encode_large(pixels, context, side=SIDE, stride=STRIDE, overlap=0.5)
    a, b = context(pixels[..., :16]), context(pixels[..., 8:])
    expected = [a.layers[..., 0], a.layers[..., 1], (2 * a.layers[..., 2] + b.layers[..., 0]) / 3]
    expected += [(a.layers[..., 3] + 2 * b.layers[..., 1]) / 3, b.layers[..., 2], b.layers[..., 3]]
    torch.testing.assert_close(features.layers, torch.stack(expected, 3), atol=1e-6, rtol=0)
    blend = (2 * a.aligned[..., 2] + b.aligned[..., 0]) / 3
    torch.testing.assert_close(features.aligned[..., 2], F.normalize(blend, dim=1), atol=1e-6, rtol=0)


def test_little_more_than_the_input_and_whole_are_one_pass():
    seen = []

    def record(pixels: torch.Tensor) -> DenseFeatures:
        seen.append(tuple(pixels.shape[-2:]))
        return context_free(pixels)

    encode_large(noise(20, 20), record, side=SIDE, stride=STRIDE)
    encode_large(noise(64, 24), record, side=SIDE, stride=STRIDE, large="whole")
    assert seen == [(20, 20), (64, 24)]
    seen.clear()
    encode_large(noise(24, 8), record, side=SIDE + 3, stride=STRIDE)
    assert seen == [(16, 8)] * 2


def test_windows_never_exceed_the_input():
    encode_large(noise(100, 64), cellwise, side=SIDE, stride=STRIDE)


@pytest.mark.parametrize(("size", "expected"), [((8, 12), (8, 12)), ((9, 3), (12, 4))])
def test_resize_to_stride(size, expected):
    pixels = torch.full((1, 3, *size), 0.25)
    assert torch.allclose(resize_to_stride(pixels, 4), torch.full((1, 3, *expected), 0.25))
