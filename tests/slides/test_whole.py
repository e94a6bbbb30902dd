"""Whole slides read at any resolution what a resampled level 0 shows; every reader keeps the same contract."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.slides.pyramids import reduced, waves, write_ome, write_svs

from aczerots.errors import InputError
from aczerots.slides.base import Box, Slide
from aczerots.slides.image import ArraySlide, ImageSlide
from aczerots.slides.levels import Patch, best_level, level_scale, make_levels, read_levels
from aczerots.slides.open import open_slide
from aczerots.slides.tiff import TiffSlide
from aczerots.slides.whole import WholeSlide

WIDTH, HEIGHT = 1237, 1018
PIXELS = waves(WIDTH, HEIGHT)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same picture as whole slides of several formats."""
    folder = tmp_path_factory.mktemp("pyramids")
    tifffile.imwrite(folder / "strips.tif", PIXELS, photometric="rgb", resolution=(2e4, 2e4), resolutionunit=3)
    options = {"tile": (256, 256), "photometric": "rgb", "resolution": (2e4, 2e4), "resolutionunit": 3}
    with tifffile.TiffWriter(folder / "generic.tif", bigtiff=True) as file:
        file.write(PIXELS, metadata=None, **options)
        file.write(reduced(PIXELS, 2), subfiletype=1, metadata=None, **options)
    return {
        "svs": write_svs(folder / "a.svs", PIXELS),
        "generic": folder / "generic.tif",
        "ome": write_ome(folder / "a.ome.tif", PIXELS),
        "planar": write_ome(folder / "planar.ome.tif", PIXELS, planar=True),
        "ome strips": write_ome(folder / "strips.ome.tif", PIXELS, strips=True),
    }


FORMATS = ["svs", "generic", "ome", "planar", "ome strips"]


@pytest.fixture(params=FORMATS)
def slide(request: pytest.FixtureRequest, written: dict[str, Path]) -> Slide:
    return open_slide(written[request.param], id="a")


def test_contract(slide: Slide) -> None:
    assert isinstance(slide, Slide)
    assert (slide.id, slide.size) == ("a", (WIDTH, HEIGHT))
    assert slide.mpp == pytest.approx(0.5)
    assert len(bytes.fromhex(slide.fingerprint)) == hashlib.sha256().digest_size
    assert np.array_equal(slide.read(Box(0, 0, WIDTH, HEIGHT), (WIDTH, HEIGHT)), PIXELS)
    assert np.array_equal(slide.read(Box(250, 255, 17, 9), (17, 9)), PIXELS[255:264, 250:267])


def test_mirrors_beyond_the_edge_at_level_0(slide: Slide) -> None:
    expected = np.pad(PIXELS, ((60, 70), (90, 100), (0, 0)), mode="symmetric")
    got = slide.read(Box(-90, -60, WIDTH + 190, HEIGHT + 130), (WIDTH + 190, HEIGHT + 130))
    assert np.array_equal(got, expected)


def expected_waves(box: Box, size: tuple[int, int]) -> np.ndarray:
    """The picture's formula at the centres of the result's pixels, mirrored at the edges of the slide."""
    x = box.x + (np.arange(size[0]) + 0.5) * box.width / size[0]
    y = (box.y + (np.arange(size[1]) + 0.5) * box.height / size[1])[:, None]
    x = np.abs((x + WIDTH) % (2 * WIDTH) - WIDTH)
    y = np.abs((y + HEIGHT) % (2 * HEIGHT) - HEIGHT)
    phases = (2 * np.pi * (x / 200 + 0 * y), 2 * np.pi * (y / 150 + 0 * x), 2 * np.pi * (x + y) / 250)
    return 127.5 + 100 * np.sin(np.stack(phases, axis=-1))


def shift_between(got: np.ndarray, box: Box, size: tuple[int, int]) -> tuple[float, float]:
    """By how many level-0 pixels (x, y) a reading is displaced, by least squares on the picture's gradient."""
    expected = expected_waves(box, size)
    sx, sy = box.width / size[0], box.height / size[1]
    gy, gx = np.gradient(expected, sy, sx, axis=(0, 1))
    inner = (slice(2, -2), slice(2, -2))
    a = np.stack([gx[inner].ravel(), gy[inner].ravel()], axis=1)
    return tuple(np.linalg.lstsq(a, (expected - got)[inner].ravel(), rcond=None)[0])


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 1.7, 2.0, 3.99, 4.0, 5.3, 16.0, 18.4])
@pytest.mark.parametrize("corner", [(0, 0), (3, 5), (101, 77)])
def test_geometry_is_that_of_level_0(slide: Slide, scale: float, corner: tuple[int, int]) -> None:
    size = int((WIDTH - corner[0]) / scale), int((HEIGHT - corner[1]) / scale)
    box = Box(*corner, round(size[0] * scale), round(size[1] * scale))
    got = slide.read(box, size)
    # The 150 px wave loses a few per cent of its height when it is averaged; where it lies must not change.
    assert max(abs(v) for v in shift_between(got, box, size)) < 0.05 * max(1, scale)
    assert np.abs(got - expected_waves(box, size))[2:-2, 2:-2].max() < 4 + 0.8 * scale


@pytest.mark.slow
@given(
    x=st.integers(-300, WIDTH),
    y=st.integers(-300, HEIGHT),
    width=st.integers(40, 900),
    height=st.integers(40, 900),
    scale=st.floats(0.5, 17),
    kind=st.sampled_from(FORMATS),
)
def test_any_box_shows_what_level_0_shows(
    x: int, y: int, width: int, height: int, scale: float, kind: str, written: dict[str, Path]
) -> None:
    box = Box(x, y, width, height)
    size = max(2, round(width / scale)), max(2, round(height / scale))
    got = open_slide(written[kind]).read(box, size).astype(float)
    step = max(width / size[0], height / size[1])
    # Along a mirror edge the picture has a crease, which a coarser pixel averages: of up to half a wave's slope.
    assert np.abs(got - expected_waves(box, size)).max() < 6 + 4.5 * step


def test_neighbouring_boxes_fit_without_a_seam(slide: Slide) -> None:
    whole = slide.read(Box(0, 0, 1200, 960), (500, 400)).astype(int)
    left, right = slide.read(Box(0, 0, 600, 960), (250, 400)), slide.read(Box(600, 0, 600, 960), (250, 400))
    # OpenSlide starts between two pixels of a level where its size is no multiple, and rounds once more.
    assert np.abs(np.hstack([left, right]) - whole).max() <= 2


def test_a_level_is_taken_that_is_not_coarser_than_asked_for(written: dict[str, Path]) -> None:
    levels = make_levels([(4443, 3567), (2221, 1783), (1110, 891)])
    assert [v.scale for v in levels] == [(1, 1), (2, 2), (4, 4)]
    assert [best_level(levels, (s, s)) for s in (0.5, 1.0, 1.99, 2.0, 3.9, 4.0, 40.0)] == [0, 0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("whole", "size", "scale"),
    [
        ((4443, 3567), (2221, 1783), (2, 2)),
        ((300, 250), (37, 31), (8, 8)),
        ((100001, 99999), (1563, 1562), (64, 64)),
        ((1000, 1000), (300, 300), (10 / 3, 10 / 3)),
    ],
)
def test_scale_of_a_level(whole: tuple[int, int], size: tuple[int, int], scale: tuple[float, float]) -> None:
    assert level_scale(whole, size) == pytest.approx(scale)


@pytest.mark.slow
def test_large_boxes_are_read_in_bounded_blocks() -> None:
    asked = []

    def fetch(level: int, box: Box) -> Patch:
        asked.append(box.area)
        return Patch(np.full((box.height, box.width, 3), 200, dtype=np.uint8))

    out = read_levels(make_levels([(12000, 5000)]), fetch, Box(0, 0, 12000, 5000), (240, 100))
    assert (out == 200).all()
    assert len(asked) > 1
    assert max(asked) < 1.3 * 4096**2


@pytest.mark.parametrize("kind", FORMATS)
def test_who_reads_what(kind: str, written: dict[str, Path]) -> None:
    expected = WholeSlide if kind in {"svs", "generic"} else TiffSlide
    assert isinstance(open_slide(written[kind]), expected)


def test_fingerprint_depends_on_bytes_alone(written: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(written["svs"].read_bytes())
    (tmp_path / "renamed.svs").write_bytes(data)
    assert open_slide(tmp_path / "renamed.svs").fingerprint == open_slide(written["svs"]).fingerprint
    data[-1] ^= 1
    (tmp_path / "other.svs").write_bytes(data)
    assert open_slide(tmp_path / "other.svs").fingerprint != open_slide(written["svs"]).fingerprint


def test_plain_images_go_the_same_way(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    Image.fromarray(PIXELS).save(tmp_path / "a.tif", dpi=(50800, 50800))
    Image.fromarray(PIXELS).save(tmp_path / "screen.tif", dpi=(72, 72))
    png, tif, screen = (open_slide(tmp_path / n) for n in ("a.png", "a.tif", "screen.tif"))
    assert all(isinstance(s, ImageSlide) for s in (png, tif, screen))
    assert png.mpp is None
    assert tif.mpp == pytest.approx(0.5)
    assert screen.mpp is None, "72 dpi is what programs write without having been asked"
    assert open_slide(tmp_path / "a.png", 0.25).mpp == 0.25
    assert open_slide(tmp_path / "a.tif", 0.25).mpp == 0.25, "the user's word holds"


def test_grey_tiff_is_shown_grey(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "g.ome.tif",
        PIXELS[..., 0],
        metadata={"PhysicalSizeX": 0.5, "PhysicalSizeY": 500.0, "PhysicalSizeYUnit": "nm"},
        tile=(128, 128),
    )
    got = open_slide(tmp_path / "g.ome.tif")
    assert got.mpp == pytest.approx(0.5)
    assert np.array_equal(got.read(Box(0, 0, 100, 90), (100, 90)), np.repeat(PIXELS[:90, :100, :1], 3, axis=2))


def _cut(path: Path, out: Path, share: float) -> Path:
    out.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return out


@pytest.mark.parametrize("kind", ["svs", "ome"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_truncated_slides_are_input_errors(kind: str, share: float, written: dict[str, Path], tmp_path: Path) -> None:
    path = _cut(written[kind], tmp_path / written[kind].name, share)
    with pytest.raises(InputError, match=path.name):
        open_slide(path).read(Box(0, 0, WIDTH, HEIGHT), (WIDTH, HEIGHT))


@pytest.mark.parametrize("kind", ["svs", "ome"])
def test_a_damaged_tile_is_an_input_error(kind: str, written: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / written[kind].name
    data = bytearray(written[kind].read_bytes())
    with tifffile.TiffFile(written[kind]) as file:
        offset, count = file.pages[0].dataoffsets[3], file.pages[0].databytecounts[3]
    data[offset : offset + count] = b"\xa5" * count
    path.write_bytes(data)
    slide = open_slide(path)
    with pytest.raises(InputError, match="level 0 cannot be read"):
        slide.read(Box(0, 0, WIDTH, HEIGHT), (WIDTH, HEIGHT))


def test_a_missing_level_is_an_input_error(written: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    data = bytearray(written["ome"].read_bytes())
    with tifffile.TiffFile(written["ome"]) as file:
        tag = file.pages[0].tags["SubIFDs"]
        data[tag.valueoffset : tag.valueoffset + 4] = (len(data) + 4096).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.ome\.tif"):
        open_slide(path).read(Box(0, 0, WIDTH, HEIGHT), (WIDTH // 8, HEIGHT // 8))


def test_what_is_no_slide_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.svs").write_bytes(b"")
    (tmp_path / "text.svs").write_text("no slide at all\n" * 20)
    Image.fromarray(PIXELS).save(tmp_path / "picture.png")
    (tmp_path / "picture.svs").write_bytes((tmp_path / "picture.png").read_bytes())
    write_svs(tmp_path / "bare.svs", PIXELS, mpp=None)
    tifffile.imwrite(tmp_path / "deep.tif", PIXELS.astype(np.uint16), photometric="rgb", tile=(128, 128))
    for name, words in {
        "empty.svs": "empty",
        "text.svs": "content is unknown",
        "picture.svs": "content is PNG",
        "bare.svs": "no resolution.*--mpp",
        "deep.tif": "uint16",
        "none.svs": "missing",
    }.items():
        with pytest.raises(InputError, match=words):
            open_slide(tmp_path / name)
    with pytest.raises(InputError, match="folder"):
        open_slide(tmp_path)
    assert open_slide(tmp_path / "bare.svs", 0.3).mpp == 0.3
    with pytest.raises(InputError, match="--mpp"):
        open_slide(tmp_path / "bare.svs", 400)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(("name", "given"), [("tcga-cr-7395-01a-01-ts1.svs", 0.5), ("small_HE_levels.tiff", 0.5)])
def test_levels_of_real_files_agree_with_level_0(name: str, given: float, shared_data: Path) -> None:
    """Best displacement between a level and the reduced level 0, in pixels of the level, by phase correlation."""
    slide = open_slide(shared_data / "slides" / name, given)
    assert isinstance(slide, WholeSlide)
    flat = ArraySlide("flat", slide.read(Box(0, 0, *slide.size), slide.size))
    for level in slide.levels[1:]:
        if min(level.size) < 64:
            continue
        box = Box(0, 0, int(level.size[0] * level.scale[0]), int(level.size[1] * level.scale[1]))
        size = level.size
        a, b = (s.read(box, size)[..., 1].astype(float) for s in (slide, flat))
        cross = np.fft.fft2(a - a.mean()) * np.conj(np.fft.fft2(b - b.mean()))
        peak = np.unravel_index(np.fft.ifft2(cross).real.argmax(), a.shape)
        assert peak == (0, 0)
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.98


@pytest.mark.data
def test_real_files_open(shared_data: Path) -> None:
    folder = shared_data / "slides"
    assert open_slide(folder / "cmu-1-small-region.svs").mpp == pytest.approx(0.499)
    assert isinstance(open_slide(folder / "kidney-48-5.tif"), ImageSlide)
    with pytest.raises(InputError, match="no resolution"):
        open_slide(folder / "tcga-cr-7395-01a-01-ts1.svs")
    with pytest.raises(InputError, match="no resolution"):
        open_slide(folder / "small_HE_levels.tiff")  # states 72 dpi, which is no microscope's
