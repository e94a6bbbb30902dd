"""Scores of overlapping windows become one map: no window ends visibly, whatever chunk it is part of."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from aczerots.backbones.base import BackboneInfo, DenseFeatures
from aczerots.prozs.model import ProZS
from aczerots.slides.base import Box, Tile
from aczerots.slides.tissue import TissueMask
from aczerots.slides.windows import TIFF_TILE, WindowPlan

_CHUNKS = (8192, 4096, 2048, 1024, 512)
_SCORE_BYTES = 256 * 2**20
"""Of the scores of a chunk with their weights."""


@torch.no_grad()
def cells_per_feature(model: ProZS, info: BackboneInfo) -> int:
    """Cells along each axis that a model gives for each feature cell: 1, or more if its decoder refines."""
    device = model.text.device
    features = DenseFeatures(
        torch.zeros(1, info.dim, 2, 2, device=device), torch.zeros(1, info.layer_dim, 2, 2, device=device)
    )
    return int(model(features).shape[-1]) // 2


def chunk_side(classes: int, cell: float) -> int:
    """Side of a chunk in map pixels: as large as its scores may be, so that few windows are computed twice.

    Args:
        classes: Number of classes.
        cell: Map pixels per cell.
    """
    fit = [s for s in _CHUNKS if 8 * classes * (s / cell) ** 2 <= _SCORE_BYTES]
    return fit[0] if fit else _CHUNKS[-1]


def window_weights(cells: int, step: int) -> torch.Tensor:
    """Weights float32 [cells] along one axis of a window, > 0.

    Cosine ramps as long as the overlap (a Tukey window): where two windows overlap, the squared sine of one and the
    squared cosine of the other add up to 1.
    """
    ramp = min(cells - step, cells // 2)
    weights = torch.ones(cells)
    if ramp > 0:
        rise = torch.sin((torch.arange(ramp) + 0.5) * math.pi / (2 * ramp)) ** 2
        weights[:ramp] = rise
        weights[-ramp:] = rise.flip(0)
    return weights


@dataclass(frozen=True)
class ChunkScores:
    """Blended class scores around a chunk.

    Attributes:
        plan: The plan.
        scores: Float32 [C, rows, columns] of cells; 0 where no window was computed.
        corner: Cell (x, y) of the plan that the first one is.
    """

    plan: WindowPlan
    scores: torch.Tensor
    corner: tuple[int, int]

    def at(self, box: Box) -> torch.Tensor:
        """Scores float32 [C, height, width] of map pixels, bilinear between the centres of cells."""
        rows, across = self._rows(box)
        return rows @ across

    def best(self, box: Box) -> NDArray[np.uint8]:
        """Label ids uint8 [height, width] of map pixels: the class of the highest score, the first of equal ones."""
        rows, across = self._rows(box)
        highest, labels = rows[0] @ across, torch.zeros(box.height, box.width, dtype=torch.uint8)
        # Class by class, so that all of it stays in the processor's cache; argmax takes several times as long.
        for i in range(1, len(rows)):
            scores = rows[i] @ across
            labels.masked_fill_(scores > highest, i)
            torch.maximum(highest, scores, out=highest)
        return labels.numpy()

    def _rows(self, box: Box) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores [C, height, k] between cells along y, and the weights [k, width] of the k cells along x."""
        (x, columns), (y, down) = self._weights(0, box.x, box.width), self._weights(1, box.y, box.height)
        return down @ self.scores[:, y, x], columns.T.contiguous()

    def _weights(self, axis: int, start: int, extent: int) -> tuple[slice, torch.Tensor]:
        """Which cells matter along an axis, and their weights float32 [extent, cells]: two per pixel.

        A product of matrices interpolates several times as fast as looking up both neighbours of each pixel, and
        what is added is zeros.
        """
        line = self.plan.lines[axis]
        last = self.scores.shape[2 - axis] - 1
        places = (torch.arange(start, start + extent, dtype=torch.float64) + 0.5 - line.origin) / self.plan.cell
        places = (places - 0.5 - self.corner[axis]).clamp(0, last)
        before = places.floor().long()
        after = (places - before).float()
        first = int(before[0])
        weights = torch.zeros(extent, int(before[-1]) + 2 - first)
        pixels = torch.arange(extent)
        weights[pixels, before - first] = 1 - after
        # The last cell has no next one; the weight of that is 0.
        weights[pixels, before - first + 1] += after
        stop = min(first + weights.shape[1], last + 1)
        return slice(first, stop), weights[:, : stop - first]


WindowFeatures = Callable[[Sequence[Tile]], Generator[tuple[Sequence[Tile], DenseFeatures]]]
"""Gives the features of windows of a slide in batches: some windows and their features, in the order asked for."""


@torch.no_grad()
def box_scores(model: ProZS, plan: WindowPlan, features: WindowFeatures, box: Box, tissue: TissueMask) -> ChunkScores:
    """Class scores of a box of the map, blended from all windows that have a part in it and show tissue.

    Every pixel of tissue gets all its windows, so the result at tissue does not depend on the box.

    Args:
        model: The model.
        plan: The windows, refined to the cells that the model gives.
        features: Features of windows.
        box: Map pixels.
        tissue: Windows without tissue are left out.

    Raises:
        InputError: The slide cannot be read.
    """
    (left, right), (top, bottom) = plan.needed(0, box.x, box.width), plan.needed(1, box.y, box.height)
    x, y = plan.lines
    places = {plan.window(i, j): (i * x.step - left, j * y.step - top) for i, j in windows_of(plan, box)}
    places = {tile: place for tile, place in places.items() if tissue.any(_grown(tile.box, plan))}
    total = torch.zeros(len(model.text), bottom - top, right - left)
    weight = torch.zeros(bottom - top, right - left)
    across, down = (window_weights(plan.cells, line.step) for line in plan.lines)
    window = down[:, None] * across
    for tile, scores in _window_scores(model, features, list(places), plan.rim):
        (x0, x1), (y0, y1) = (
            (max(0, p), min(n, p + plan.cells)) for p, n in zip(places[tile], weight.shape[::-1], strict=True)
        )
        own = slice(y0 - places[tile][1], y1 - places[tile][1]), slice(x0 - places[tile][0], x1 - places[tile][0])
        total[:, y0:y1, x0:x1] += window[own] * scores[:, own[0], own[1]]
        weight[y0:y1, x0:x1] += window[own]
    return ChunkScores(plan, total / weight.clamp_min(1e-6), (left, top))


def scored_blocks(
    model: ProZS, plan: WindowPlan, features: WindowFeatures, box: Box, tissue: TissueMask
) -> Iterator[tuple[Box, ChunkScores]]:
    """A box of the map in blocks, in parts as large as a chunk, each with scores that cover it.

    Arguments and errors are those of :func:`box_scores`.
    """
    for part in blocks(box, plan.chunk):
        scores = box_scores(model, plan, features, part, tissue)
        for block in blocks(part):
            yield block, scores


def windows_of(plan: WindowPlan, box: Box) -> list[tuple[int, int]]:
    """(column, row) of the windows that decide a box of the map, in reading order."""
    columns, rows = plan.covering(0, box.x, box.width), plan.covering(1, box.y, box.height)
    return [(i, j) for j in rows for i in columns]


def _grown(box: Box, plan: WindowPlan) -> Box:
    """A cell more on every side, from which pixels beside a window are interpolated, and what is rounded."""
    more = math.ceil(plan.cell * plan.scale) + 1
    return Box(box.x - more, box.y - more, box.width + 2 * more, box.height + 2 * more)


def _window_scores(
    model: ProZS, features: WindowFeatures, tiles: list[Tile], rim: int
) -> Iterator[tuple[Tile, torch.Tensor]]:
    """Scores float32 [C, cells, cells] of each window without its rim, on the CPU."""
    if not tiles:
        return
    with closing(features(tiles)) as batches:
        for part, dense in batches:
            scores = model(dense.to(model.text.device)).float().cpu()
            inner = slice(rim, scores.shape[-1] - rim)
            yield from zip(part, scores[:, :, inner, inner], strict=True)


def blocks(box: Box, side: int = TIFF_TILE) -> Iterator[Box]:
    """A box in parts of at most ``side`` pixels a side, in reading order."""
    for y in range(box.y, box.y + box.height, side):
        for x in range(box.x, box.x + box.width, side):
            yield Box(x, y, min(side, box.x + box.width - x), min(side, box.y + box.height - y))
