"""Plain images and arrays as slides."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from aczerots.errors import InputError
from aczerots.slides.base import Box, Slide
from aczerots.slides.image import ArraySlide, ImageSlide
from aczerots.slides.pixels import PixelCache


def _random_image(path, width=37, height=23, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture(params=["file", "array"])
def slide_and_pixels(request, tmp_path):
    pixels = _random_image(tmp_path / "a.png")
    slide = ImageSlide(tmp_path / "a.png", "a", 0.5) if request.param == "file" else ArraySlide("a", pixels, 0.5)
    return slide, pixels


def test_contract(slide_and_pixels):
    slide, pixels = slide_and_pixels
    assert isinstance(slide, Slide)
    assert (slide.id, slide.size, slide.mpp) == ("a", (37, 23), 0.5)
    assert np.array_equal(slide.read(Box(0, 0, 37, 23), (37, 23)), pixels)
    assert np.array_equal(slide.read(Box(5, 3, 7, 4), (7, 4)), pixels[3:7, 5:12])


def test_reading_does_not_expose_the_store(slide_and_pixels):
    slide, pixels = slide_and_pixels
    slide.read(Box(0, 0, 37, 23), (37, 23))[:] = 0
    assert np.array_equal(slide.read(Box(0, 0, 37, 23), (37, 23)), pixels)


def test_mirrors_repeatedly_beyond_the_edge(slide_and_pixels):
    slide, pixels = slide_and_pixels
    expected = np.pad(pixels, ((60, 70), (90, 100), (0, 0)), mode="symmetric")
    got = slide.read(Box(-90, -60, 37 + 190, 23 + 130), (37 + 190, 23 + 130))
    assert np.array_equal(got, expected)


def test_single_pixel_slide_fills_any_box():
    slide = ArraySlide("dot", np.array([[[10, 20, 30]]], dtype=np.uint8))
    got = slide.read(Box(-9, -9, 32, 32), (16, 16))
    assert (got == [10, 20, 30]).all()
    assert got.shape == (16, 16, 3)


def test_downsampling_is_antialiased():
    checker = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    slide = ArraySlide("checker", np.repeat(checker[..., None], 3, axis=2))
    small = slide.read(Box(0, 0, 256, 256), (32, 32))
    assert np.abs(small[4:-4, 4:-4].astype(int) - 127).max() <= 6


def test_upsampling_keeps_a_ramp():
    ramp = np.repeat(np.tile(np.arange(0, 160, 10, dtype=np.uint8), (16, 1))[..., None], 3, axis=2)
    big = ArraySlide("ramp", ramp).read(Box(0, 0, 16, 16), (64, 64))[32, :, 0].astype(int)
    x = (np.arange(64) + 0.5) / 4 - 0.5
    assert np.abs(big[8:-8] - 10 * x[8:-8]).max() <= 1


def test_fingerprint_follows_the_file_bytes_and_the_part(tmp_path):
    path = tmp_path / "a.png"
    _random_image(path)
    whole = ImageSlide(path, "a")
    renamed = ImageSlide(path, "b")
    part = ImageSlide(path, "a", part=Box(0, 0, 5, 5))
    assert whole.fingerprint == renamed.fingerprint != part.fingerprint
    assert len(bytes.fromhex(whole.fingerprint)) == hashlib.sha256().digest_size
    _random_image(path, seed=1)
    assert ImageSlide(path, "a").fingerprint != whole.fingerprint


def test_array_fingerprint_and_ownership():
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    slide = ArraySlide("a", pixels)
    assert slide.fingerprint != ArraySlide("a", np.zeros((6, 4, 3), dtype=np.uint8)).fingerprint
    pixels[:] = 9
    assert not slide.read(Box(0, 0, 6, 4), (6, 4)).any()


def test_part_does_not_see_its_neighbour(tmp_path):
    pixels = np.zeros((10, 20, 3), dtype=np.uint8)
    pixels[:, 10:] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    left = ImageSlide(tmp_path / "a.png", "left", part=Box(0, 0, 10, 10))
    assert not left.read(Box(-5, -5, 30, 20), (30, 20)).any()
    assert not left.read(Box(0, 0, 10, 10), (40, 40)).any()
    with pytest.raises(InputError, match="not inside"):
        ImageSlide(tmp_path / "a.png", "x", part=Box(15, 0, 10, 10))


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "CMYK", "RGBA"])
def test_other_modes_become_rgb(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new("RGB", (8, 6), (255, 255, 255)).convert(mode).save(path)
    assert (ImageSlide(path, "a").read(Box(0, 0, 8, 6), (8, 6)) == 255).all()


def test_transparent_is_white(tmp_path):
    Image.new("RGBA", (8, 6), (200, 0, 0, 0)).save(tmp_path / "a.png")
    assert (ImageSlide(tmp_path / "a.png", "a").read(Box(0, 0, 8, 6), (8, 6)) == 255).all()


def test_sixteen_bit_is_refused(tmp_path):
    Image.fromarray(np.full((6, 8), 60000, dtype=np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: pixels of mode I;16 are not 8-bit"):
        ImageSlide(tmp_path / "a.png", "a").read(Box(0, 0, 8, 6), (8, 6))


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.png: the image is missing"):
        ImageSlide(tmp_path / "none.png", "a")


def test_not_an_image(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(InputError, match=r"a\.png: this is no image"):
        ImageSlide(tmp_path / "a.png", "a")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.7, 0.97])
def test_truncated_file_is_an_input_error(tmp_path, suffix, share):
    path = tmp_path / f"cut.{suffix}"
    _random_image(path, 200, 150)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match="cut"):
        ImageSlide(path, "a").read(Box(0, 0, 200, 150), (200, 150))


def test_damaged_png_is_an_input_error(tmp_path):
    path = tmp_path / "a.png"
    _random_image(path, 200, 150)
    data = bytearray(path.read_bytes())
    for position in range(60, len(data), 97):
        data[position] ^= 0x5A
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"a\.png"):
        ImageSlide(path, "a").read(Box(0, 0, 200, 150), (200, 150))


@pytest.mark.slow
def test_tiff_with_damaged_tags_is_read_or_refused_without_warnings(tmp_path):
    path = tmp_path / "a.tif"
    _random_image(path, 50, 40)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(data)
        for position in rng.integers(8, 150, 5):  # where Pillow writes the tags
            damaged[position] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            slide = ImageSlide(path, "a")
            slide.read(Box(0, 0, *slide.size), (8, 8))
        except InputError:
            refused += 1
    assert 0 < refused < 200


def test_unreasonably_large_image_is_refused_from_its_header(tmp_path):
    Image.new("1", (20000, 10000)).save(tmp_path / "bomb.png")
    with pytest.raises(InputError, match=r"bomb\.png: .*megapixels"):
        ImageSlide(tmp_path / "bomb.png", "a")


def test_section_scan_above_pillows_warning_is_accepted(tmp_path):
    Image.new("1", (9600, 9600)).save(tmp_path / "scan.png")
    assert ImageSlide(tmp_path / "scan.png", "a").size == (9600, 9600)


def test_shared_cache_stays_bounded_and_decodes_once(tmp_path):
    slides = []
    cache = PixelCache(max_bytes=3 * 100 * 100 * 3)
    for i in range(8):
        _random_image(tmp_path / f"{i}.png", 100, 100, seed=i)
        slides.append(ImageSlide(tmp_path / f"{i}.png", str(i), cache=cache))
    for slide in slides:
        slide.read(Box(0, 0, 10, 10), (10, 10))
        assert cache.nbytes <= 3 * 100 * 100 * 3
    assert cache.nbytes == 3 * 100 * 100 * 3
    (tmp_path / "7.png").unlink()
    slides[7].read(Box(0, 0, 10, 10), (10, 10))  # still held
    (tmp_path / "0.png").unlink()
    with pytest.raises(InputError, match="missing"):
        slides[0].read(Box(0, 0, 10, 10), (10, 10))  # was dropped


def test_array_larger_than_the_cache_is_handed_out_and_not_kept():
    cache = PixelCache(max_bytes=10)
    assert cache.get("a", lambda: np.ones((5, 5), dtype=np.uint8)).sum() == 25
    assert cache.nbytes == 0


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)]
)
def test_array_of_another_form_is_refused(pixels):
    with pytest.raises(InputError, match="RGB uint8"):
        ArraySlide("a", pixels)
