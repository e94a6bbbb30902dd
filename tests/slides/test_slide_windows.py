"""Windows cover the slide, their feature cells line up, and every chunk finds the ones that it needs."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aczerots.errors import InputError
from aczerots.slides.image import ArraySlide
from aczerots.slides.windows import Line, plan_windows

sizes = st.integers(1, 900)


def blank(width: int, height: int, mpp: float | None = None) -> ArraySlide:
    return ArraySlide("a", np.zeros((height, width, 3), dtype=np.uint8), mpp)


@pytest.mark.slow
@given(sizes, sizes, st.integers(1, 14), st.integers(16, 230), st.floats(0, 0.75), st.integers(0, 90))
def test_windows_cover_the_map_and_no_more_than_needed(
    width: int, height: int, cells: int, tile: int, overlap: float, shift: int
) -> None:
    assume(cells <= tile)
    plan = plan_windows(blank(width, height), tile, cells, None, chunk=512, overlap=overlap, shift=(shift, 0))
    for axis, length in enumerate((width, height)):
        line = plan.lines[axis]
        end = line.origin + ((line.count - 1) * line.step + cells) * plan.cell
        assert line.origin <= 1e-6
        assert end >= length - 1e-6
        if axis == 1:
            assert line.count == 1 or end - line.step * plan.cell < length + tile, "one window fewer would do"
            assert -line.origin <= end - length + plan.cell + 1e-6, "what is too much is shared by both ends"
        assert line.step <= max(1, round(cells * (1 - overlap)))


@given(st.integers(0, 800), st.integers(1, 300), st.integers(2, 14), st.floats(0, 0.75))
def test_cells_and_windows_of_a_stretch(start: int, extent: int, cells: int, overlap: float) -> None:
    plan = plan_windows(blank(1100, 50), 16 * cells, cells, None, chunk=512, overlap=overlap)
    first, stop = plan.needed(0, start, extent)
    line = plan.lines[0]
    # The centres of the first and last pixel lie between centres of cells, or beyond the outermost ones.
    assert (first + 0.5) * 16 + line.origin <= start + 0.5 or first == 0
    assert (stop - 0.5) * 16 + line.origin >= start + extent - 0.5 or stop == (line.count - 1) * line.step + cells
    met = [i for i in range(line.count) if i * line.step < stop and i * line.step + cells > first]
    assert list(plan.meeting(0, first, stop)) == met


def test_a_plan_by_hand() -> None:
    plan = plan_windows(blank(1000, 100, 0.25), 224, 14, 0.5, chunk=512, overlap=0.25)
    assert (plan.size, plan.scale, plan.mpp, plan.cell) == ((500, 50), 2.0, 0.5, 16.0)
    # 500 map pixels need 1 + ceil((500 - 224) / 160) = 3 windows, ceil((500 - 224) / 2 / 16) = 9 cells apart:
    # 512 pixels, of which 12 are too many and less than a cell at either end.
    assert plan.lines == (Line(0.0, 3, 9), Line(-80.0, 1, 10))
    window = plan.window(1, 0)
    assert (window.box.x, window.box.y, window.box.width, window.size, window.mpp) == (288, -160, 448, 224, 0.5)
    assert [c.name for c in plan.chunks()] == ["0000-0000"]
    with pytest.raises(InputError, match="--mpp"):
        plan_windows(blank(100, 100), 224, 14, 0.5, chunk=512)
