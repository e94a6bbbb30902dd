"""Depth and colour of files: shown right or refused in one line, never nearly black."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms
from tests.slides.pyramids import waves

from aczerots.errors import InputError
from aczerots.slides.base import Box
from aczerots.slides.open import open_slide

PIXELS = waves(300, 200)
TILED = {"tile": (64, 64)}
HALF_MICRON = {"resolution": (20000, 20000), "resolutionunit": 3}
SIZE = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
LAYOUTS = ["plain", "tiled", "ome"]


def write(folder: Path, pixels: NDArray[np.generic], layout: str, **options: object) -> Path:
    """A TIFF that Pillow, OpenSlide or tifffile reads."""
    path = folder / ("a.ome.tif" if layout == "ome" else "a.tif")
    kind: dict[str, object] = {"photometric": "rgb", "metadata": None} | HALF_MICRON
    if layout == "ome":
        kind |= {"ome": True, "metadata": {"axes": "YXS" if pixels.ndim == 3 else "YX", **SIZE}}
    tifffile.imwrite(path, pixels, **(kind | ({} if layout == "plain" else TILED) | options))
    return path


def shown(path: Path) -> NDArray[np.uint8]:
    """What is read of a file."""
    slide = open_slide(path)
    return slide.read(Box(0, 0, *slide.size), slide.size)


def away(path: Path, expected: NDArray[np.uint8] = PIXELS) -> float:
    """Mean difference of what is read from what is expected."""
    return float(np.abs(shown(path).astype(int) - expected).mean())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("grey", [False, True])
def test_fewer_bits_in_16_are_refused(bits: int, grey: bool, layout: str, tmp_path: Path) -> None:
    pixels = PIXELS.astype(np.uint16) << (bits - 8)
    path = write(tmp_path, pixels[..., 0] if grey else pixels, layout, photometric="minisblack" if grey else "rgb")
    with pytest.raises(
        InputError, match=rf"a.*tif: the pixels (use {bits} of 16 bits|are uint16, not 8-bit).*8-bit RGB"
    ):
        shown(path)


def test_full_16_bits_are_right_and_12_in_a_png_are_refused(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    (tmp_path / "full.png").write_bytes(imagecodecs.png_encode(PIXELS.astype(np.uint16) * 257))
    (tmp_path / "low.png").write_bytes(imagecodecs.png_encode(PIXELS.astype(np.uint16) * 16))
    assert away(tmp_path / "full.png") == 0
    assert away(write(tmp_path, PIXELS.astype(np.uint16) * 257, "plain")) == 0
    with pytest.raises(InputError, match=r"low\.png: the pixels use 12 of 16 bits"):
        shown(tmp_path / "low.png")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_floats_are_refused(layout: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="float32, not 8-bit"):
        shown(write(tmp_path, (PIXELS / 255).astype(np.float32), layout))


def test_four_bits_are_refused_where_they_are_not_scaled(tmp_path: Path) -> None:
    path = write(tmp_path, PIXELS[..., 0] // 16, "ome", photometric="minisblack", bitspersample=4)
    with pytest.raises(InputError, match="of 4 bits, not 8-bit"):
        shown(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cmyk_tiff(layout: str, tmp_path: Path) -> None:
    inks = np.asarray(Image.fromarray(PIXELS).convert("CMYK"))
    assert away(write(tmp_path, inks, layout, photometric="separated")) < 1


def test_cmyk_jpeg_is_right_where_it_says_how_it_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(PIXELS).convert("CMYK").save(path, quality=98)
    assert away(path) < 3
    data = path.read_bytes()
    at = data.index(b"\xff\xee")  # where Adobe's marker begins
    path.write_bytes(data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :])
    with pytest.raises(InputError, match="CMYK JPEG"):
        shown(path)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_transparent_is_glass(kind: str, layout: str, tmp_path: Path) -> None:
    alpha = np.full(PIXELS.shape[:2], 255, np.uint8)
    alpha[:, 100:200], alpha[:, 200:] = 128, 0
    colour = PIXELS if kind == "unassalpha" else np.rint(PIXELS * (alpha[..., None] / 255)).astype(np.uint8)
    colour = np.where(alpha[..., None] > 0, colour, 0)
    expected = np.rint(255 + (PIXELS - 255.0) * (alpha[..., None] / 255)).astype(np.uint8)
    assert away(write(tmp_path, np.dstack([colour, alpha]), layout, extrasamples=[kind]), expected) < 1


def test_transparent_grey_and_a_fourth_sample_of_unknown_meaning(tmp_path: Path) -> None:
    alpha = np.full(PIXELS.shape[:2], 255, np.uint8)
    alpha[:, 200:] = 0
    grey = np.where(alpha > 0, PIXELS[..., 0], 0)
    path = write(tmp_path, np.dstack([grey, alpha]), "ome", photometric="minisblack", extrasamples=["unassalpha"])
    expected = np.where(alpha > 0, grey, 255)[..., None].repeat(3, axis=2)
    assert away(path, expected) == 0
    black = np.where(alpha[..., None] > 0, PIXELS, 0)
    path = write(tmp_path, np.dstack([black, alpha]), "ome", extrasamples=["unspecified"])
    assert away(path, np.where(alpha[..., None] > 0, PIXELS, 255)) == 0


@pytest.mark.parametrize("layout", ["plain", "ome"])
@pytest.mark.parametrize("depth", [1, 257])
def test_palettes_of_8_and_16_bits(depth: int, layout: str, tmp_path: Path) -> None:
    table = (np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 90)]) * depth).astype(np.uint16)
    index = PIXELS[..., 0]
    expected = (table // depth).astype(np.uint8)[:, index].transpose(1, 2, 0)
    assert away(write(tmp_path, index, layout, photometric="palette", colormap=table), expected) == 0


@pytest.mark.parametrize("ink", ["ycbcr", "cielab"])
def test_colour_spaces_that_are_not_converted_are_refused(ink: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"stored as {ink.upper()}.*not as RGB"):
        shown(write(tmp_path, PIXELS, "ome", photometric=ink))


def test_a_colour_profile_is_applied_unless_it_is_that_of_the_screen_or_broken(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(PIXELS)
    for name, profile in {"srgb.png": srgb, "broken.png": srgb[:100]}.items():
        image.save(tmp_path / name, icc_profile=profile)
        assert away(tmp_path / name) == 0
    linear = _linear_profile(srgb)
    dark = np.rint(255 * np.where(PIXELS <= 10.31, PIXELS / 255 / 12.92, ((PIXELS / 255 + 0.055) / 1.055) ** 2.4))
    Image.fromarray(dark.astype(np.uint8)).save(tmp_path / "linear.png", icc_profile=linear)
    assert away(tmp_path / "linear.png") < 3


def _linear_profile(srgb: bytes) -> bytes:
    """SRGB's primaries with light itself as the value: the parametric curves become powers of 1."""
    data = bytearray(srgb)
    start = 0
    while (start := data.find(b"para", start)) >= 0:
        if data[start + 4 : start + 8] == b"\0\0\0\0":
            data[start + 8 : start + 10] = b"\0\0"
            data[start + 12 : start + 16] = (1 << 16).to_bytes(4, "big")
        start += 4
    return bytes(data)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
@pytest.mark.parametrize("turn", [3, 6])
def test_orientation_is_not_applied_and_said(turn: int, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    if ending == "tif":
        tags = [(274, "H", 1, turn, True)]
        tifffile.imwrite(path, PIXELS, photometric="rgb", metadata=None, extratags=tags)
    else:
        exif = Image.Exif()
        exif[0x0112] = turn
        Image.fromarray(PIXELS).save(path, exif=exif, **({"quality": 98} if ending == "jpg" else {}))
    told: list[str] = []
    slide = open_slide(path, tell=told.append)
    assert slide.size == (300, 200)
    assert np.abs(slide.read(Box(0, 0, 300, 200), (300, 200)).astype(int) - PIXELS).mean() < 4
    assert "stored pixels" in told[0]
