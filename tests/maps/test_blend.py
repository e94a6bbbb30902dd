"""Where windows and chunks lie cannot be seen in the map."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from aczerots.blend import ChunkScores, blocks, chunk_scores, chunk_side, window_weights
from aczerots.predict import Segmenter
from aczerots.slides.base import Box
from aczerots.slides.image import ArraySlide
from aczerots.slides.tissue import everything
from aczerots.slides.windows import OVERLAP, plan_windows


@pytest.mark.parametrize(("cells", "step"), [(14, 10), (14, 7), (14, 14), (1, 1), (15, 5)])
def test_weights_of_overlapping_windows_add_up(cells: int, step: int) -> None:
    weights = window_weights(cells, step)
    assert (weights > 0).all()
    assert torch.equal(weights, weights.flip(0))
    if 2 * step >= cells:
        total = torch.zeros(cells + 6 * step)
        for i in range(7):
            total[i * step : i * step + cells] += weights
        assert torch.allclose(total[cells:-cells], torch.ones(1), atol=1e-6)


def test_scores_lie_where_the_cells_are() -> None:
    """A score that grows with x must read x at every map pixel; worked out by hand from the cells' centres."""
    plan = plan_windows(ArraySlide("a", np.zeros((40, 300, 3), dtype=np.uint8)), 64, 4, None, chunk=512)
    (left, right), (top, bottom) = plan.needed(0, 100, 90), plan.needed(1, 0, 40)
    centres = (torch.arange(left, right) + 0.5) * 16 + plan.lines[0].origin
    scores = ChunkScores(plan, centres.expand(1, bottom - top, -1), (left, top))
    got = scores.at(Box(100, 3, 90, 5))
    assert got.shape == (1, 5, 90)
    assert torch.allclose(got[0, 0], torch.arange(100, 190) + 0.5, atol=1e-3)


def test_blocks_partition_a_box() -> None:
    parts = list(blocks(Box(100, 7, 1100, 600)))
    assert sum(p.area for p in parts) == 1100 * 600
    assert len(parts) == 6


def test_chunks_are_as_large_as_memory_allows() -> None:
    assert chunk_side(9, 16.0) == 8192
    assert chunk_side(9, 1.0) == 1024
    assert chunk_side(200, 0.5) == 512


def labels_of(
    segmenter: Segmenter, slide: ArraySlide, overlap: float, shift: tuple[int, int], chunk: int
) -> np.ndarray:
    plan = segmenter.plan(slide, overlap, chunk, shift)
    out = np.zeros(plan.size[::-1], dtype=np.uint8)
    for part in plan.chunks():
        b = part.box
        scores = chunk_scores(segmenter.model, segmenter.backbone, slide, plan, everything(slide), part)
        out[b.y : b.y + b.height, b.x : b.x + b.width] = scores.at(b).argmax(dim=0).numpy()
    return out


@pytest.fixture(scope="module")
def tissue(pixels: np.ndarray) -> ArraySlide:
    return ArraySlide("a", pixels[150:950, 250:1050], 0.5)


@pytest.fixture(scope="module")
def unshifted(segmenter: Segmenter, tissue: ArraySlide) -> np.ndarray:
    return labels_of(segmenter, tissue, OVERLAP, (0, 0), 1024)


def test_chunks_do_not_matter(segmenter: Segmenter, tissue: ArraySlide, unshifted: np.ndarray) -> None:
    assert (labels_of(segmenter, tissue, OVERLAP, (0, 0), 512) == unshifted).mean() > 0.9999


@pytest.mark.parametrize("shift", [(80, 96), (7, 9)])
def test_where_windows_lie_does_not_matter(
    shift: tuple[int, int], segmenter: Segmenter, tissue: ArraySlide, unshifted: np.ndarray
) -> None:
    """At least 99 % agree half a cell (4 micrometres) from the borders between classes and a window from the rim."""
    moved = labels_of(segmenter, tissue, OVERLAP, shift, 1024)
    border = np.zeros(unshifted.shape, dtype=bool)
    border[:, 1:] |= unshifted[:, 1:] != unshifted[:, :-1]
    border[1:] |= unshifted[1:] != unshifted[:-1]
    inner = np.zeros_like(border)
    inner[112:-112, 112:-112] = True
    same = moved == unshifted
    assert same[inner].mean() > 0.95
    assert same[inner & (ndimage.distance_transform_edt(~border) > 8)].mean() >= 0.99


def test_labels_change_at_ends_of_windows_no_more_than_elsewhere(
    segmenter: Segmenter, tissue: ArraySlide, unshifted: np.ndarray
) -> None:
    plan = segmenter.plan(tissue, OVERLAP, 1024)
    change = (unshifted[:, 1:] != unshifted[:, :-1]).mean(axis=0)
    line = plan.lines[0]
    starts = [line.origin + i * plan.step * plan.cell for i in range(line.count)]
    ends = [int(e) for s in starts for e in (s, s + plan.tile) if 16 < e < len(change) - 16]
    near = np.concatenate([change[e - 2 : e + 1] for e in ends])
    assert near.mean() < 1.3 * change.mean() + 2 * change.std() / np.sqrt(len(near))
