"""Resolution: the user's word holds and is told; what cannot be is refused with its value and the way out."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.slides.pyramids import waves, write_ome, write_svs

from aczerots.errors import InputError
from aczerots.slides.image import ImageSlide
from aczerots.slides.open import briefly, open_slide, read_slide
from aczerots.slides.resolution import micrometres, overruled, settle, stated

PIXELS = waves(200, 150)
INCH, CENTIMETRE = 2, 3


def write(path: Path, per_unit: float | tuple[float, float], unit: int, **options: object) -> Path:
    """A TIFF with resolution tags."""
    both = per_unit if isinstance(per_unit, tuple) else (per_unit, per_unit)
    tifffile.imwrite(path, PIXELS, photometric="rgb", metadata=None, resolution=both, resolutionunit=unit, **options)
    return path


@pytest.mark.parametrize("dots", [72, 96, 150, 300, 600, 1200, 2400, 4800])
def test_dots_per_inch_of_a_print_are_no_resolution(dots: int, tmp_path: Path) -> None:
    told: list[str] = []
    plain = write(tmp_path / "plain.tif", dots, INCH)
    assert open_slide(plain, tell=told.append).mpp is None
    assert open_slide(plain, 0.5, tell=told.append).mpp == 0.5
    assert told == [], "what was written without anybody's asking needs no words"
    tiled = write(tmp_path / "tiled.tif", dots / 2.54, CENTIMETRE, tile=(64, 64))
    with pytest.raises(InputError, match=rf"states no resolution .*: {25400 / dots:g} .*--mpp"):
        open_slide(tiled)
    assert open_slide(tiled, 0.5).mpp == 0.5


@pytest.mark.parametrize("mpp", [0.1, 0.25, 0.5, 1.0, 2.0, 8.0, 10.0, 16.0])
def test_resolution_tags_of_a_microscope_count(mpp: float, tmp_path: Path) -> None:
    for unit, length in ((INCH, 25400), (CENTIMETRE, 10000)):
        assert open_slide(write(tmp_path / "a.tif", length / mpp, unit)).mpp == pytest.approx(mpp, rel=1e-4)
        assert open_slide(write(tmp_path / "b.tif", length / mpp, unit, tile=(64, 64))).mpp == pytest.approx(
            mpp, rel=1e-4
        )


def test_the_users_word_holds_against_every_kind_of_file_and_is_told_once(tmp_path: Path) -> None:
    files = [
        write_svs(tmp_path / "a.svs", PIXELS, (4,), mpp=0.05),
        write_ome(tmp_path / "b.ome.tif", PIXELS, (4,), mpp=0.05),
        write(tmp_path / "c.tif", 10000 / 0.05, CENTIMETRE, tile=(64, 64)),
        write(tmp_path / "d.tif", 10000 / 0.05, CENTIMETRE),
        write(tmp_path / "e.tif", (20000, 10000), CENTIMETRE, tile=(64, 64)),
    ]
    for path in files:
        told: list[str] = []
        assert open_slide(path, 0.5, tell=told.append).mpp == 0.5
        (line,) = told
        assert all(word in line for word in (path.name, "0.5", "as given", "0.5 x 1" if path.stem == "e" else "0.05"))
        assert read_slide(path, 0.03).mpp == 0.03, "what a project has recorded stays"


def test_agreeing_within_two_per_cent_is_not_told(tmp_path: Path) -> None:
    told: list[str] = []
    assert open_slide(write_svs(tmp_path / "a.svs", PIXELS, (4,), mpp=0.2522), 0.25, tell=told.append).mpp == 0.25
    assert told == []


@pytest.mark.parametrize("mpp", [500.0, 25.0, 0.0004])
def test_a_file_with_an_impossible_resolution_is_refused_with_its_value(mpp: float, tmp_path: Path) -> None:
    for path in (
        write_svs(tmp_path / "a.svs", PIXELS, (4,), mpp),
        write_ome(tmp_path / "b.ome.tif", PIXELS, (4,), mpp),
    ):
        with pytest.raises(InputError, match=rf"{path.name}: states no resolution .*: {mpp:g} .*--mpp.*--slide-mpp"):
            open_slide(path)
        assert open_slide(path, 0.5).mpp == 0.5


def test_a_plain_image_with_an_impossible_resolution_has_none_and_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, imagej=True, resolution=(2, 2), metadata={"unit": "mm"})
    told: list[str] = []
    slide = open_slide(path, tell=told.append)
    assert isinstance(slide, ImageSlide)
    assert slide.mpp is None
    assert "500 micrometres" in told[0]


def test_pixels_that_are_not_square_are_refused_with_the_way_out(tmp_path: Path) -> None:
    for options in ({}, {"tile": (64, 64)}):
        with pytest.raises(InputError, match=r"0\.5 x 1 micrometres per pixel, which are not square.*--mpp"):
            open_slide(write(tmp_path / "a.tif", (20000, 10000), CENTIMETRE, **options))


@pytest.mark.parametrize("given", [0.0, -1.0, 0.0005, 42.0, 500.0, float("nan"), float("inf")])
def test_an_impossible_word_of_the_user_is_refused(given: float, tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"no resolution of a slide.*--mpp"):
        open_slide(tmp_path / "a.png", given)


@pytest.mark.parametrize(
    ("unit", "length"),
    [
        ("\u00b5m", 1.0),
        ("\u03bcm", 1.0),
        ("\\u00B5m", 1.0),
        ("\u00c2\u00b5m", 1.0),
        ("um", 1.0),
        ("Microns", 1.0),
        ("micrometer", 1.0),
        ("nm", 1e-3),
        ("\u212b", 1e-4),
        ("mm", 1e3),
        ("cm", 1e4),
        ("in", 25400.0),
        ("inch", 25400.0),
        ("Mm", None),
        ("pixel", None),
        ("reference frame", None),
        ("", None),
    ],
)
def test_units(unit: str, length: float | None) -> None:
    assert micrometres(unit) == length


def _ome(path: Path, size: str, unit: str = "", quote: str = '"', name: str = "scan") -> Path:
    """An OME-TIFF whose description is written by hand."""
    sizes = "".join(f" PhysicalSize{a}={quote}{size}{quote}{unit.replace('@', a)}" for a in "XY")
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><!-- <Pixels PhysicalSizeX="9" PhysicalSizeY="9"/> -->'
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0" Name="{name}"><Pixels '
        'ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="200" SizeY="150" SizeC="3" SizeZ="1" SizeT="1"'
        f'{sizes}><Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData IFD="0" PlaneCount="1"/></Pixels></Image>'
        "</OME>"
    )
    tifffile.imwrite(path, PIXELS, photometric="rgb", description=xml.encode(), metadata=None, tile=(64, 64))
    return path


@pytest.mark.parametrize(
    ("size", "unit", "quote"),
    [
        ("0.5", "", '"'),
        ("0.5", "", "'"),
        ("0.5", ' PhysicalSize@Unit="\u03bcm"', '"'),
        ("0.5", ' PhysicalSize@Unit="&#181;m"', "'"),
        ("0.5", ' PhysicalSize@Unit="&#xB5;m"', '"'),
        ("5000", " PhysicalSize@Unit='\u00c5'", '"'),
        ("5e-4", " PhysicalSize@Unit = 'mm'", '"'),
    ],
)
def test_xml_is_read_as_xml(size: str, unit: str, quote: str, tmp_path: Path) -> None:
    assert open_slide(_ome(tmp_path / "a.ome.tif", size, unit, quote)).mpp == pytest.approx(0.5)


def test_xml_with_an_ampersand_as_it_is_and_sizes_in_pixels(tmp_path: Path) -> None:
    assert open_slide(_ome(tmp_path / "a.ome.tif", "0.5", name="H&E")).mpp == 0.5
    with pytest.raises(InputError, match="states no resolution"):
        open_slide(_ome(tmp_path / "b.ome.tif", "1", ' PhysicalSize@Unit="pixel"'))
    with pytest.raises(InputError, match="states no resolution"):
        open_slide(_ome(tmp_path / "c.ome.tif", "0"))


def test_who_holds() -> None:
    path = Path("a.svs")
    assert settle(stated(0.25, 0.25), None, path) == 0.25
    assert settle(stated(0.25, 0.25), 0.5, path) == 0.5
    assert settle(None, 0.5, path) == 0.5
    assert settle(stated(0.25, None), None, path) is None
    assert stated(0.0, 0.25) is None
    assert stated(np.nan, 0.25) is None
    assert overruled(None, 0.5, path) is None
    assert overruled(stated(0.25, 0.25), None, path) is None


def test_notes_of_many_files_are_few() -> None:
    assert briefly(["a", "b"]) == ["a", "b"]
    assert briefly([str(i) for i in range(10)]) == ["0", "1", "2", "... and 7 more of this kind"]
