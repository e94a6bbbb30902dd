"""Slides of which a part was scanned: other programs show that part, and what goes to them and comes back counts so."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.project.conftest import CLASSES, ask_for
from tests.project.test_project_exchange import outline, square, written
from tests.slides.pyramids import write_scn

from aczerots.annotation.store.records import AnswerKind, NewAnswer
from aczerots.errors import InputError
from aczerots.project.folder import Project, init_project, open_project
from aczerots.project.ingest import Intake, ingest_files
from aczerots.project.masks import export_masks, import_masks
from aczerots.project.qupath import export_qupath
from aczerots.project.settings import make_settings
from aczerots.server.monai.images import Image as MonaiImage
from aczerots.server.monai.images import find_image, inside, patch_name
from aczerots.server.monai.labels import read_label, write_asap_label, write_dsa_label
from aczerots.slides.base import Box
from aczerots.slides.frame import Frame, as_shown, frame_of
from aczerots.slides.image import ArraySlide
from aczerots.slides.open import open_slide
from aczerots.slides.whole import _bounds
from aczerots.taxonomy import IGNORE

OFFSET, SIZE, WHOLE = (300, 500), (512, 384), (1200, 1000)


@pytest.fixture(scope="module")
def scn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    pixels = np.array([200, 120, 170]) + rng.integers(-9, 9, (SIZE[1], SIZE[0], 1))
    pixels[:, :256] = pixels[:, :256] - 60
    return write_scn(tmp_path_factory.mktemp("scn") / "part.scn", pixels.astype(np.uint8), OFFSET, WHOLE)


@pytest.fixture
def project(scn: Path, tmp_path: Path) -> Iterator[Project]:
    init_project(tmp_path / "p", [str(scn)], make_settings(classes=CLASSES, tile_size=128, budget=2))
    with open_project(tmp_path / "p") as opened:
        ask_for(opened, range(len(opened.store.rounds.tiles())))
        yield opened


def drawn(project: Project, left: int, top: int, side: int) -> bool:
    """Whether just a square is drawn as stroma, level-0 pixels of the whole slide."""
    want = np.zeros((WHOLE[1], WHOLE[0]), bool)
    want[top : top + side, left : left + side] = True
    found = np.zeros_like(want)
    tiles = project.store.rounds.tiles()
    for position, mask in project.store.answers.masks().items():
        b = tiles[position].box
        found[b.y : b.y + b.height, b.x : b.x + b.width] = mask[tiles[position].inner] == 1
    return bool((want == found).all())


def test_the_frame_of_a_slide(scn: Path):
    slide = open_slide(scn)
    frame = frame_of(slide)
    assert (slide.size, frame) == (WHOLE, Frame(Box(*OFFSET, *SIZE), whole=False))
    part = as_shown(slide)
    assert (part.size, part.mpp, frame_of(part)) == (SIZE, slide.mpp, frame)
    assert part.fingerprint != slide.fingerprint
    box = Box(20, 30, 64, 48)
    np.testing.assert_array_equal(part.read(box, (64, 48)), slide.read(frame.inward(box), (64, 48)))
    assert frame.outward(frame.inward(box)) == box
    plain = ArraySlide("a", np.zeros((9, 8, 3), np.uint8))
    assert as_shown(plain) is plain
    assert frame_of(plain).stated == {
        "part": "whole slide",
        "offset": [0, 0],
        "size": [8, 9],
        "unit": "level-0 pixels",
    }


@pytest.mark.parametrize(
    ("stated", "found"),
    [
        (["3", "4", "5", "6"], Box(3, 4, 5, 6)),
        (["-3", "4", "50", "60"], Box(0, 4, 20, 6)),
        (["0", "0", "20", "10"], None),
        (["3", None, "5", "6"], None),
        (["3", "x", "5", "6"], None),
        (["3", "4", "nan", "6"], None),
        (["3", "40", "5", "6"], None),
    ],
)
def test_bounds_that_make_no_sense_are_no_bounds(stated: list[str | None], found: Box | None):
    assert _bounds(stated, (20, 10)) == found


def test_tiles_go_to_qupath_in_its_frame_and_drawings_come_back(project: Project, tmp_path: Path):
    (path,) = export_qupath(project, tmp_path / "out", 1)
    content = json.loads(path.read_text())
    assert content["frame"] == {
        "part": "openslide bounds",
        "offset": [*OFFSET],
        "size": [*SIZE],
        "unit": "level-0 pixels",
    }
    corners = [tuple(f["geometry"]["coordinates"][0][0]) for f in content["features"]]
    tiles = project.store.rounds.tiles()
    assert sorted(corners) == sorted((t.box.x - 300, t.box.y - 500) for t in tiles)
    content["features"].append(outline("stroma", square(100, 90, 70)))
    path.write_text(json.dumps(content["features"]))  # QuPath does not keep what the file says of its frame
    report = ingest_files(project, [path], Intake("ann"))[0]
    assert (report.unused, report.stale) == ([], 0)
    assert drawn(project, 400, 590, 70)
    again = ingest_files(project, export_qupath(project, tmp_path / "again", 1), Intake("ann"))[0]
    assert (again.answers, again.unchanged) == (0, report.answers)


def test_drawings_without_tiles_count_as_qupath_counts(project: Project, tmp_path: Path):
    path = written(tmp_path, "part.geojson", outline("stroma", square(100, 90, 70)))
    ingest_files(project, [path], Intake("ann", everywhere=True))
    assert drawn(project, 400, 590, 70)


def test_a_file_whose_tiles_are_in_the_whole_frame_is_read_so(project: Project, tmp_path: Path):
    tile = project.store.rounds.tiles()[0]
    frame = outline("", square(tile.box.x, tile.box.y, tile.box.width))
    frame["properties"] = {"objectType": "annotation", "metadata": {"aczerots tile": tile.id, "version": "0"}}
    ingest_files(
        project, [written(tmp_path, "part.geojson", frame, outline("stroma", square(400, 590, 70)))], Intake("a")
    )
    assert drawn(project, 400, 590, 70)


@pytest.mark.parametrize("form", ["png", "ome-tiff"])
def test_label_images_show_the_part_and_state_it(project: Project, tmp_path: Path, form: str):
    path = written(tmp_path, "part.geojson", outline("stroma", square(100, 90, 70)))
    ingest_files(project, [path], Intake("ann"))
    (image,) = export_masks(project, tmp_path / "out", form)
    with Image.open(image) as picture:
        labels, text = np.array(picture), str(picture.info)
    want = np.full((SIZE[1], SIZE[0]), IGNORE, np.uint8)
    want[90:160, 100:170] = 1
    np.testing.assert_array_equal(labels, want)
    if form == "ome-tiff":
        with tifffile.TiffFile(image) as tiff:
            text = str(tiff.ome_metadata)
    assert "openslide bounds, offset 300, 500" in text
    assert import_masks(project, [image], "bob") == 0, "the same drawing comes back"
    if form == "png":
        whole = np.full((WHOLE[1], WHOLE[0]), IGNORE, np.uint8)
        whole[590:660, 400:470] = 1
        Image.fromarray(whole).save(tmp_path / "part.png")
        assert import_masks(project, [tmp_path / "part.png"], "bob") == 0
        Image.fromarray(whole[1:]).save(tmp_path / "part.png")
        with pytest.raises(InputError, match="the mask is"):
            import_masks(project, [tmp_path / "part.png"], "bob")


def test_a_missing_whole_slide_is_told_and_a_missing_image_has_no_frame_of_its_own(project: Project, tmp_path: Path):
    project.store.answers.add(NewAnswer(0, 1, "ann", "page", AnswerKind.DRAWN, 0, np.zeros((128, 128), np.uint8)))
    record = project.store.rounds.slides()[0]
    assert project.frame(record.id).offset == OFFSET
    with pytest.raises(InputError, match="there is no slide 'x'"):
        project.frame("x")


def test_clients_of_monai_label_count_as_qupath_does(project: Project):
    slide = project.slides["part"]
    tile = next(t for t in project.store.rounds.tiles() if t.box.x > 400)
    name = patch_name(tile, slide)
    b = tile.box
    assert name == f"part-patch-{b.x - 300}_{b.y - 500}_{b.width}_{b.height}"
    assert find_image({slide.id: slide}, name).patch == b
    assert find_image({slide.id: slide}, "part").box == Box(*OFFSET, *SIZE)
    assert inside(slide, (10, 20), (30, 40)) == Box(310, 520, 30, 40)
    assert inside(slide, (0, 0), (0, 0)) == Box(*OFFSET, *SIZE)
    image = MonaiImage(slide, None)
    labels = np.full((40, 30), IGNORE, np.uint8)
    labels[:8, :8] = 1
    about = Box(310, 520, 30, 40), image.frame, "part", project.taxonomy, 0
    asap, dsa = write_asap_label(labels, *about), json.loads(write_dsa_label(labels, *about))
    assert 'X="10" Y="20"' in asap
    assert "openslide bounds, offset 300, 500" in asap
    assert [18, 28, 0] in dsa["elements"][0]["points"]
    assert "openslide bounds, offset 300, 500" in dsa["description"]
    back = read_label(asap.replace('X="10" Y="20">', 'X="0" Y="0">', 1).encode(), image, project.taxonomy)
    assert back.drawings[0].geometry.bounds == (310, 520, 318, 528)
    buffer = io.BytesIO()
    Image.fromarray(np.full((40, 30), 2, np.uint8)).save(buffer, "PNG")
    part = read_label(buffer.getvalue(), MonaiImage(slide, Box(310, 520, 30, 40)), project.taxonomy)
    assert part.drawings[0].geometry.bounds == (310, 520, 340, 560)
