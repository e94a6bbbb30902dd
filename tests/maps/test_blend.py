"""Where windows and chunks lie cannot be seen in the map."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from aczerots.predict.blend import ChunkScores, blocks, box_scores, chunk_side, window_weights
from aczerots.predict.segmenter import Segmenter
from aczerots.predict.windows import sample_tiles
from aczerots.slides.base import Box
from aczerots.slides.image import ArraySlide
from aczerots.slides.tissue import everything, find_tissue
from aczerots.slides.windows import OVERLAP, WindowPlan, plan_windows


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
    three = torch.randn(3, bottom - top, right - left, generator=torch.manual_seed(0)).round()
    blended = ChunkScores(plan, three, (left, top))
    box = Box(100, 3, 90, 5)
    assert np.array_equal(blended.best(box), blended.at(box).numpy().argmax(axis=0))


def test_blocks_partition_a_box() -> None:
    parts = list(blocks(Box(100, 7, 1100, 600)))
    assert sum(p.area for p in parts) == 1100 * 600
    assert len(parts) == 6


def test_chunks_are_as_large_as_memory_allows() -> None:
    assert chunk_side(9, 16.0) == 8192
    assert chunk_side(9, 1.0) == 1024
    assert chunk_side(200, 0.5) == 512


def labels_of(
    segmenter: Segmenter, slide: ArraySlide, overlap: float | None, shift: tuple[int, int], chunk: int
) -> np.ndarray:
    plan = segmenter.plan(slide, overlap, chunk, shift)
    features = segmenter.features(slide, plan, find_tissue(slide))
    out = np.zeros(plan.size[::-1], dtype=np.uint8)
    for part in plan.chunks():
        b = part.box
        scores = box_scores(segmenter.model, plan, features, b, everything(slide))
        out[b.y : b.y + b.height, b.x : b.x + b.width] = scores.at(b).argmax(dim=0).numpy()
    return out


@pytest.fixture(scope="module")
def tissue(pixels: np.ndarray) -> ArraySlide:
    return ArraySlide("a", pixels[150:950, 250:1050], 0.5)


@pytest.fixture(scope="module")
def unshifted(segmenter: Segmenter, tissue: ArraySlide) -> np.ndarray:
    return labels_of(segmenter, tissue, OVERLAP, (0, 0), 1024)


@pytest.mark.slow
def test_chunks_do_not_matter(segmenter: Segmenter, tissue: ArraySlide, unshifted: np.ndarray) -> None:
    assert (labels_of(segmenter, tissue, OVERLAP, (0, 0), 512) == unshifted).mean() > 0.9999


@pytest.mark.slow
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


@pytest.fixture(scope="module")
def as_one(segmenter: Segmenter, tissue: ArraySlide) -> np.ndarray:
    """Labels of the slide seen as one picture."""
    return labels_of(segmenter, tissue, None, (0, 0), 1024)


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "share"), [((64, 80), 0.99), ((16, 32), 0.99), ((8, 8), 0.97)])
def test_of_a_slide_seen_as_one_picture_99_percent_agree_wherever_windows_lie(
    shift: tuple[int, int], share: float, segmenter: Segmenter, tissue: ArraySlide, as_one: np.ndarray
) -> None:
    """Of all pixels, borders between classes and the rim of the slide included; less where cells lie elsewhere too."""
    moved = labels_of(segmenter, tissue, None, shift, 1024)
    assert (moved == as_one).mean() >= share


@pytest.mark.slow
def test_chunks_do_not_matter_to_a_slide_seen_as_one_picture(
    segmenter: Segmenter, tissue: ArraySlide, as_one: np.ndarray
) -> None:
    assert (labels_of(segmenter, tissue, None, (0, 0), 512) == as_one).mean() > 0.999


@pytest.mark.parametrize(("width", "height"), [(512, 512), (513, 40), (8200, 1030), (1500, 900)])
@pytest.mark.parametrize("shift", [(0, 0), (64, 80)])
def test_windows_with_a_rim_have_all_cells_that_a_chunk_needs(width: int, height: int, shift: tuple[int, int]) -> None:
    slide = ArraySlide("a", np.zeros((height, width, 3), dtype=np.uint8))
    plan = plan_windows(slide, 544, 34, None, chunk=512, overlap=32 / 544, shift=shift, rim=5)
    for chunk in plan.chunks():
        for axis, (start, extent) in enumerate(((chunk.box.x, chunk.box.width), (chunk.box.y, chunk.box.height))):
            needed = range(*plan.needed(axis, start, extent))
            firsts = [i * plan.lines[axis].step for i in plan.covering(axis, start, extent)]
            has = {cell for first in firsts for cell in range(first, first + 34)}
            assert set(needed) <= has
            if shift == (0, 0):
                assert len(plan.covering(axis, start, extent)) == 1
    window = plan.window(0, 0)
    assert (window.size, window.window.width, window.box.width) == (704, 704, 544)
    assert (window.box.x, window.window.x) == (-16 - shift[0], -96 - shift[0])


@pytest.mark.slow
def test_the_sample_of_a_slide_lies_on_its_tissue_whatever_the_windows(tissue: ArraySlide) -> None:
    pixels = np.full((2000, 3000, 3), 243, dtype=np.uint8)
    pixels[800:1600, 1900:2700] = tissue.read(Box(0, 0, 800, 800), (800, 800))
    slide = ArraySlide("b", pixels, 0.5)

    def plan(moved: int) -> WindowPlan:
        return plan_windows(slide, 544, 34, 0.5, chunk=512, overlap=32 / 544, shift=(moved, 0), rim=5)

    found = sample_tiles(slide, plan(0), find_tissue(slide))
    assert found == sample_tiles(slide, plan(64), find_tissue(slide))
    assert 5 <= len(found) <= 8
    for tile in found:
        x, y = tile.box.x + tile.box.width / 2, tile.box.y + tile.box.height / 2
        assert 1880 <= x <= 2720
        assert 780 <= y <= 1620


@pytest.mark.parametrize("length", [448, 450, 522, 775, 1700, 3000])
def test_windows_of_an_image_stay_inside_it_but_for_a_few_cells(length: int) -> None:
    plan = plan_windows(ArraySlide("a", np.zeros((224, length, 3), dtype=np.uint8)), 224, 14, None, chunk=512)
    line, other = plan.lines
    assert (other.origin, other.count) == (0, 1)
    assert line.step <= 10, "at least a quarter in common"
    last = line.origin + ((line.count - 1) * line.step + 14) * 16
    beyond = -line.origin, last - length
    assert all(0 <= b < 16 * line.count for b in beyond)
    assert sum(beyond) < 16 * line.count
    assert line.count == max(0, -(-(length - 224) // 160)) + 1, "no window more than needed"


@pytest.mark.slow
def test_labels_change_at_ends_of_windows_no_more_than_elsewhere(
    segmenter: Segmenter, tissue: ArraySlide, unshifted: np.ndarray
) -> None:
    plan = segmenter.plan(tissue, OVERLAP, 1024)
    change = (unshifted[:, 1:] != unshifted[:, :-1]).mean(axis=0)
    line = plan.lines[0]
    starts = [line.origin + i * line.step * plan.cell for i in range(line.count)]
    ends = [int(e) for s in starts for e in (s, s + plan.tile) if 16 < e < len(change) - 16]
    near = np.concatenate([change[e - 2 : e + 1] for e in ends])
    assert near.mean() < 1.3 * change.mean() + 2 * change.std() / np.sqrt(len(near))
