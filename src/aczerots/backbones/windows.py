"""Images larger than a model's input: overlapping windows whose features are blended, or one pass over the whole.

A transformer with learned position embeddings knows places only inside its input. ``windows`` keeps to that: every
window has the size the model was trained at, and where windows overlap their features are averaged with weights that
fall towards the edge of a window, where a token has seen context on one side only. ``whole`` stretches the position
embeddings over the larger image: one pass, wider context, but places the model never met.

Images up to ``SLACK`` times the input are done whole in either case: their position embeddings hardly change, and
windows that overlap almost entirely would cost four passes for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F

from aczerots.backbones.base import DenseFeatures

Large = Literal["windows", "whole"]
LARGE: tuple[Large, ...] = get_args(Large)

SLACK = 1.25
OVERLAP = 0.25
"""Least fraction of its side that a window has in common with the next."""


def encode_large(
    pixels: torch.Tensor,
    encode: Callable[[torch.Tensor], DenseFeatures],
    *,
    side: int,
    stride: int,
    large: Large = "windows",
    overlap: float = OVERLAP,
) -> DenseFeatures:
    """Dense features of images of any size from a function that does those of about the input size.

    Args:
        pixels: Float [b, 3, h, w], h and w multiples of the stride.
        encode: Dense features of float [b, 3, h', w'], h' and w' multiples of the stride, for windows up to the input
            size; with ``whole`` also for larger ones.
        side: Side of the model's input in pixels; rounded down to a multiple of the stride.
        stride: Pixels per feature cell, each way.
        large: What to do with a side above ``SLACK`` times the input.
        overlap: Least fraction of its side that a window has in common with the next, 0 <= overlap < 1.

    Returns:
        Features of h / stride by w / stride cells. Where windows overlap: the weighted mean of theirs, ``aligned``
        scaled back to unit length; elsewhere those of the one window.
    """
    rows, columns = (length // stride for length in pixels.shape[-2:])
    cells = side // stride
    if large == "whole" or max(rows, columns) <= SLACK * cells:
        return encode(pixels)
    high, wide = min(rows, cells), min(columns, cells)
    canvas: DenseFeatures | None = None
    for top, weight_y in _along(rows, high, overlap):
        for left, weight_x in _along(columns, wide, overlap):
            down, right = (slice(start * stride, (start + n) * stride) for start, n in ((top, high), (left, wide)))
            part = encode(pixels[..., down, right].contiguous())
            if canvas is None:
                blank = (t.new_zeros(*t.shape[:2], rows, columns) for t in (part.aligned, part.layers))
                canvas = DenseFeatures(*blank)
            weight = (weight_y[:, None] * weight_x).to(part.aligned)
            canvas.aligned[..., top : top + high, left : left + wide] += weight * part.aligned
            canvas.layers[..., top : top + high, left : left + wide] += weight * part.layers
    assert canvas is not None
    return DenseFeatures(F.normalize(canvas.aligned, dim=1), canvas.layers)


def _along(length: int, window: int, overlap: float) -> list[tuple[int, torch.Tensor]]:
    """First cell and weights of each window along one axis.

    The fewest windows that share ``overlap``, spread evenly. Weights float64 [window] sum to 1 at every cell; before
    scaling they rise by one per cell from the edge of a window to its middle.
    """
    step = max(1, int(window * (1 - overlap)))
    count = math.ceil((length - window) / step) + 1
    starts = [round(i * (length - window) / max(1, count - 1)) for i in range(count)]
    ramp = torch.arange(1, window + 1, dtype=torch.float64)
    ramp = torch.minimum(ramp, ramp.flip(0))
    total = torch.zeros(length, dtype=torch.float64)
    for start in starts:
        total[start : start + window] += ramp
    return [(start, ramp / total[start : start + window]) for start in starts]
