"""Deep zoom, run lengths, the stop suggestion, and the page as it is shipped."""

from __future__ import annotations

import re
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from aczerots.annotation.stopping import stopping_criterion
from aczerots.errors import InputError, NotFoundError
from aczerots.server.app import WEB
from aczerots.server.deepzoom import OVERLAP, TILE, DeepZoom, describe, tile_box, top_level
from aczerots.server.runs import decode_runs, encode_runs
from aczerots.slides.base import Box
from aczerots.slides.image import ArraySlide
from aczerots.slides.open import open_slide
from tests.patience import PATIENCE


def gradient(width: int, height: int) -> ArraySlide:
    """A slide whose colours tell where a pixel is."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 / max(1, width - 1), y * 255 / max(1, height - 1), np.full_like(x, 90)], axis=-1)
    return ArraySlide("slide", pixels.astype(np.uint8))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (254, 254), (255, 1), (700, 523), (1024, 300)])
def test_the_tiles_of_every_level_cover_the_slide(width: int, height: int) -> None:
    slide = gradient(width, height)
    for level in range(top_level(slide) + 1):
        scale = 2 ** (top_level(slide) - level)
        across, down = -(-width // scale), -(-height // scale)
        seen = np.zeros((down, across), dtype=int)
        for column in range(-(-across // TILE)):
            for row in range(-(-down // TILE)):
                box, size = tile_box(slide, level, column, row)
                left, top = max(0, column * TILE - OVERLAP), max(0, row * TILE - OVERLAP)
                assert (box.x, box.y) == (left * scale, top * scale)
                assert box.x + box.width <= width
                assert box.y + box.height <= height
                seen[top : top + size[1], left : left + size[0]] += 1
        assert (seen >= 1).all()
        assert seen[:TILE, :TILE][: TILE - OVERLAP, : TILE - OVERLAP].max() == 1


def test_the_top_level_shows_the_slide_itself() -> None:
    slide = gradient(700, 523)
    zoom = DeepZoom()
    box, size = tile_box(slide, top_level(slide), 1, 1)
    picture = np.asarray(Image.open(BytesIO(zoom.tile(slide, top_level(slide), 1, 1)))).astype(int)
    assert np.abs(picture - slide.read(box, size)).mean() < 2
    assert 'Width="700" Height="523"' in describe(slide)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", ["cmu-1-small-region.svs", "tcga-cr-7395-01a-01-ts1.svs"])
def test_a_real_slide_can_be_zoomed_into(shared_data: Path, name: str) -> None:
    slide = open_slide(shared_data / "slides" / name, 0.5)
    zoom, top = DeepZoom(), top_level(slide)
    for level in (4, *range(8, top + 1)):  # up to level 8 the slide is one tile
        side = 2 ** (top - level) * TILE
        last = [(n - 1) // side for n in slide.size]
        for column, row in {(0, 0), (last[0], last[1]), (last[0] // 2, last[1] // 2)}:
            box, size = tile_box(slide, level, column, row)
            with Image.open(BytesIO(zoom.tile(slide, level, column, row))) as picture:
                assert picture.size == size
                pixels = np.asarray(picture.convert("RGB")).astype(float)
            # JPEG moves single pixels; means and most pixels stay.
            expected = slide.read(box, size).astype(float)
            assert np.abs(pixels.mean(axis=(0, 1)) - expected.mean(axis=(0, 1))).max() < 6
            assert min(size) < 64 or np.median(np.abs(pixels - expected)) <= 6
    middle = Box(slide.size[0] // 2, slide.size[1] // 2, 254, 254)
    assert slide.read(middle, (254, 254)).std() > 10


def test_tiles_are_kept_within_bounds() -> None:
    slide = gradient(700, 523)
    zoom = DeepZoom(max_bytes=1)
    first = zoom.tile(slide, 10, 0, 0)
    assert zoom.tile(slide, 10, 0, 0) is first
    zoom.tile(slide, 10, 1, 0)
    assert zoom.tile(slide, 10, 0, 0) is not first


@pytest.mark.parametrize("place", [(11, 0, 0), (10, 3, 0), (10, 0, 3), (0, 1, 0)])
def test_tiles_beyond_the_slide_are_unknown(place: tuple[int, int, int]) -> None:
    with pytest.raises(NotFoundError):
        tile_box(gradient(700, 523), *place)


@given(arrays(np.uint8, (7, 7), elements=st.sampled_from([0, 1, 255])))
def test_run_lengths_go_there_and_back(mask: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> None:
    runs = encode_runs(mask)
    np.testing.assert_array_equal(decode_runs(runs, 7), mask)
    assert all(a != b for a, b in zip(runs[::2], runs[2::2], strict=False)), "runs are as long as can be"


@given(st.lists(st.integers(-5, 300), max_size=12))
def test_any_list_is_a_mask_or_refused(runs: list[int]) -> None:
    try:
        mask = decode_runs(runs, 3)
    except InputError:
        return
    assert encode_runs(mask)[::2] == [v for i, v in enumerate(runs[::2]) if i == 0 or v != runs[2 * i - 2]]


@pytest.mark.parametrize(
    ("change", "coverage", "stop"),
    [
        ({}, {}, False),
        ({1: 0.001}, {}, False),
        ({1: 0.3, 2: 0.01, 3: 0.012}, {}, True),
        ({1: 0.01, 2: 0.01, 3: 0.2}, {}, False),
        ({2: 0.01, 3: 0.01}, {1: 0.70, 2: 0.701, 3: 0.702}, True),
        ({2: 0.01, 3: 0.01}, {1: 0.70, 2: 0.701, 3: 0.75}, False),
    ],
)
def test_stopping_is_suggested_on_a_plateau(change: dict[int, float], coverage: dict[int, float], stop: bool) -> None:
    advice = stopping_criterion(change, coverage)
    assert advice.stop is stop
    assert advice.reason


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for name in ("index.html", "page.css"):
        assert not re.search(r"(src|href|url\()[^>]*//", (WEB / name).read_text(encoding="utf-8"))
    shipped = {"index.html", "page.js", "page.css", "theme.js", "icon.svg", "NOTICES.txt"}
    assert {p.name for p in WEB.iterdir()} == shipped


def test_the_shipped_page_is_built_from_its_source(repository: Path, tmp_path: Path) -> None:
    web = repository / "web"
    if shutil.which("node") is None or not (web / "node_modules").is_dir():
        pytest.skip("needs node and `make web` once")
    subprocess.run(["node", "build.mjs", str(tmp_path)], cwd=web, check=True, capture_output=True, timeout=PATIENCE)
    for path in WEB.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), f"{path.name} is stale: make web"


def test_drawing_is_exact(repository: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("needs node")
    done = subprocess.run(
        ["node", "--test", "tests/"],
        cwd=repository / "web",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "# pass 12" in done.stdout
