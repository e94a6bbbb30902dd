"""Which picture in a TIFF is used: the scan, or none with what was found."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from tests.slides.pyramids import waves

from aczerots.errors import InputError
from aczerots.slides.base import Box, Slide
from aczerots.slides.image import ImageSlide
from aczerots.slides.open import open_slide

SCAN = waves(400, 300)
PLANES = np.ascontiguousarray(np.moveaxis(SCAN, 2, 0))
LABEL, MACRO = waves(200, 200), waves(260, 100)
TILED = {"tile": (64, 64)}
REDUCED = {"subfiletype": 1}
HALF_MICRON = {"resolution": (20000, 20000), "resolutionunit": 3}
SIZE = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}

Part = tuple[NDArray[np.uint8], dict[str, object]]


def write(path: Path, *parts: Part, ome: bool = False) -> Path:
    """A TIFF of several pictures."""
    with tifffile.TiffWriter(path, ome=ome) as file:
        for pixels, options in parts:
            file.write(np.ascontiguousarray(pixels), **({"photometric": "rgb", "metadata": None} | options))
    return path


def named(name: str, pixels: NDArray[np.uint8], **more: object) -> Part:
    """A picture of an OME-TIFF."""
    return pixels, {"metadata": {"axes": "YXS", "Name": name, **more}, **TILED}


def shows_the_scan(slide: Slide) -> bool:
    """Whether all of the scan is read, and nothing else, at its resolution."""
    assert slide.size == (400, 300)
    assert slide.mpp == 0.5
    return np.array_equal(slide.read(Box(0, 0, 400, 300), (400, 300)), SCAN)


@pytest.mark.parametrize(
    "parts",
    [
        [(SCAN[::4, ::4], {}), (SCAN, HALF_MICRON)],
        [(SCAN[::4, ::4], {}), (SCAN, TILED | HALF_MICRON), (SCAN[::2, ::2], TILED | REDUCED)],
        [(SCAN[::4, ::4], TILED), (SCAN, TILED | HALF_MICRON), (SCAN[::2, ::2], TILED | REDUCED)],
        [(LABEL, TILED | {"description": "label 200x200"}), (SCAN, TILED | HALF_MICRON)],
        [(LABEL, {"description": "Label"}), (MACRO, {"description": "macro"}), (SCAN, HALF_MICRON)],
        [(SCAN, TILED | HALF_MICRON), (MACRO, {"description": "macro"}), (LABEL, {"description": "label"})],
        [(SCAN, HALF_MICRON), (SCAN[::2, ::2], REDUCED), (SCAN[::4, ::4], REDUCED)],
    ],
)
def test_the_scan_is_found_wherever_it_is(parts: list[Part], tmp_path: Path) -> None:
    assert shows_the_scan(open_slide(write(tmp_path / "a.tif", *parts)))


@pytest.mark.parametrize(
    "parts",
    [
        [named("label image", LABEL), named("macro image", MACRO), named("20x", SCAN, **SIZE)],
        [named("20x", SCAN, **SIZE), named("Label", LABEL, **SIZE)],
        [named("Thumbnail", SCAN[::4, ::4], PhysicalSizeX=2.0, PhysicalSizeY=2.0), named("20x", SCAN, **SIZE)],
        [named("a #1", SCAN, **SIZE), named("a #2", SCAN[::2, ::2]), named("a #3", SCAN[::4, ::4])],
    ],
)
def test_the_scan_of_an_ome_tiff_and_its_resolution_are_found(parts: list[Part], tmp_path: Path) -> None:
    assert shows_the_scan(open_slide(write(tmp_path / "a.ome.tif", *parts, ome=True)))


@pytest.mark.parametrize("strips", [True, False])
def test_a_scan_in_a_sub_directory_is_found(strips: bool, tmp_path: Path) -> None:
    layout = {} if strips else TILED
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(SCAN[::4, ::4].copy(), subifds=1, photometric="rgb", metadata=None)
        file.write(SCAN, photometric="rgb", metadata=None, **layout, **HALF_MICRON)
    assert shows_the_scan(open_slide(tmp_path / "a.tif"))


@pytest.mark.parametrize("options", [{}, TILED, {"compression": "deflate"}, TILED | {"compression": "deflate"}])
@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
def test_planar_channels_are_a_colour_picture(options: dict[str, object], photometric: str, tmp_path: Path) -> None:
    kind = {"photometric": photometric, "planarconfig": "separate"}
    assert shows_the_scan(open_slide(write(tmp_path / "a.tif", (PLANES, kind | HALF_MICRON | options))))


@pytest.mark.parametrize("names", [None, ["Red", "Green", "Blue"], ["C:0", "C:1", "C:2"], ["R", "G", "B"]])
@pytest.mark.parametrize("options", [{}, TILED])
def test_channels_on_pages_are_a_colour_picture(
    names: list[str] | None, options: dict[str, object], tmp_path: Path
) -> None:
    metadata = {"axes": "CYX", **SIZE} | ({"Channel": {"Name": names}} if names else {})
    tifffile.imwrite(tmp_path / "a.ome.tif", PLANES, ome=True, photometric="minisblack", metadata=metadata, **options)
    assert shows_the_scan(open_slide(tmp_path / "a.ome.tif"))


@pytest.mark.parametrize(
    ("pixels", "axes", "more", "words"),
    [
        (PLANES, "ZYX", {}, "3 focal planes"),
        (PLANES, "TYX", {}, "3 time points"),
        (np.stack([SCAN, SCAN]), "ZYXS", {}, "2 focal planes"),
        (np.stack([SCAN, SCAN]), "TYXS", {}, "2 time points"),
        (PLANES[:2], "CYX", {}, "2 channels"),
        (np.concatenate([PLANES, PLANES[:1]]), "CYX", {}, "4 channels"),
        (PLANES, "CYX", {"Channel": {"Name": ["DAPI", "FITC", "Cy3"]}}, "channels DAPI, FITC, Cy3"),
        (PLANES, "CYX", {"Channel": {"Name": ["Blue", "Green", "Red"]}}, "channels Blue, Green, Red"),
        (PLANES, "CYX", {"Channel": {"EmissionWavelength": [450, 520, 570]}}, "channels 450"),
    ],
)
def test_what_is_no_single_picture_is_refused_with_what_was_found(
    pixels: NDArray[np.uint8], axes: str, more: dict[str, object], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.ome.tif"
    ink = "rgb" if axes.endswith("S") else "minisblack"
    tifffile.imwrite(path, pixels, ome=True, photometric=ink, metadata={"axes": axes, **SIZE, **more})
    with pytest.raises(InputError, match=rf"a\.ome\.tif: the file holds .*{words}.*red, green and blue") as caught:
        open_slide(path)
    assert "again" not in str(caught.value), "another copy would not help"


@pytest.mark.parametrize(("axes", "words"), [("ZYX", "3 focal planes"), ("TYX", "3 time points")])
def test_stacks_of_imagej_are_refused(axes: str, words: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANES, imagej=True, metadata={"axes": axes})
    with pytest.raises(InputError, match=words):
        open_slide(tmp_path / "a.tif", 0.5)


@pytest.mark.parametrize("options", [{}, TILED])
def test_pages_of_the_same_size_are_refused(options: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="3 pictures of the same size"):
        open_slide(write(tmp_path / "a.tif", *[(SCAN, options | HALF_MICRON)] * 3), 0.5)


def test_several_scans_in_a_file_are_refused_by_name(tmp_path: Path) -> None:
    parts = [named("left", SCAN, **SIZE), named("right", waves(300, 300), **SIZE), named("label", LABEL)]
    with pytest.raises(InputError, match=r"2 pictures that may be the scan: 400 x 300 'left', 300 x 300 'right'"):
        open_slide(write(tmp_path / "a.ome.tif", *parts, ome=True))
    small = [named("left", SCAN, **SIZE), named("right", waves(90, 130), **SIZE)]
    with pytest.raises(InputError, match="2 pictures"):
        open_slide(write(tmp_path / "b.ome.tif", *small, ome=True))
    with pytest.raises(InputError, match="2 pictures"):
        open_slide(write(tmp_path / "c.tif", (SCAN, {}), (waves(380, 290), {})))


def test_one_plain_page_stays_a_plain_image(tmp_path: Path) -> None:
    slide = open_slide(write(tmp_path / "a.tif", (SCAN[::4, ::4], {}), (SCAN, {})))
    assert isinstance(slide, ImageSlide)
    assert slide.size == (400, 300)


def test_a_stack_that_is_one_page_for_other_programs_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([SCAN[..., 0]] * 5), photometric="minisblack", truncate=True)
    with pytest.raises(InputError, match="5 pictures of the same size"):
        open_slide(tmp_path / "a.tif", 0.5)


@pytest.mark.parametrize("codec", ["webp", "jpegxl", "jpeg2000", "lzma", "zstd"])
@pytest.mark.parametrize("options", [{}, TILED])
def test_compressions_that_one_reader_lacks_are_left_to_another(
    codec: str, options: dict[str, object], tmp_path: Path
) -> None:
    slide = open_slide(write(tmp_path / "a.tif", (SCAN, {"compression": codec} | options | HALF_MICRON)))
    assert np.abs(slide.read(Box(0, 0, 400, 300), (400, 300)).astype(int) - SCAN).mean() < 1


def test_a_compression_that_cannot_be_read_is_named_and_no_copy_advised(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ome.tif", named("20x", SCAN, **SIZE), ome=True)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags["Compression"]
        data[tag.valueoffset : tag.valueoffset + 2] = (34676).to_bytes(2, "little")  # SGILOG
    path.write_bytes(data)
    with pytest.raises(InputError, match="SGILOG") as caught:
        open_slide(path)
    assert "Convert" in str(caught.value)
    assert "again" not in str(caught.value)
