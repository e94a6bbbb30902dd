"""Drawings leave for QuPath and come back; masks likewise; nothing hostile changes anything."""

import gzip
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from shapely.geometry import Polygon, mapping, shape
from tests.project.conftest import ask_for

from aczerots.annotation.store.records import AnswerKind, NewAnswer, NewDraft, PickRecord, RoundState
from aczerots.engine.progress import Silent
from aczerots.errors import InputError
from aczerots.project.agreement import agreement
from aczerots.project.folder import Project
from aczerots.project.ingest import Ingested, Intake, ingest_files
from aczerots.project.masks import export_masks, import_masks
from aczerots.project.qupath import export_qupath
from aczerots.taxonomy import IGNORE

ANN = Intake("ann")


def outline(name: str, ring: list[list[float]], **properties: Any) -> dict[str, Any]:
    found = {"objectType": "annotation", "classification": {"name": name}} | properties
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": found}


def square(left: float, top: float, side: float) -> list[list[float]]:
    right, bottom = left + side, top + side
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def written(folder: Path, name: str, *features: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def ingest(project: Project, *files: Path, intake: Intake = ANN, slide: str | None = None) -> Ingested:
    return ingest_files(project, files, intake, slide=slide)[0]


def drafted(project: Project, tile: int) -> NewDraft:
    """A draft of all four classes, the last one unseen; rows beyond the box stay empty."""
    place = project.store.rounds.tiles()[tile]
    mask = np.full((64, 64), IGNORE, np.uint8)
    labels = np.random.default_rng(tile).integers(0, 4, (8, 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    mask[place.inner] = labels[place.inner]
    return NewDraft(tile, mask, {}, "round-0")


def test_an_export_is_what_qupath_reads(project: Project, tmp_path: Path):
    ask_for(project, [2, 4, 0], [drafted(project, 2)])
    files = export_qupath(project, tmp_path / "out", 1)
    assert [f.name for f in files] == ["a.geojson", "b.geojson"]
    content = json.loads(files[0].read_text())
    assert content["type"] == "FeatureCollection"
    frames = [f for f in content["features"] if f["properties"]["isLocked"]]
    assert [f["properties"]["name"] for f in frames] == ["round 1, tile 1", "round 1, tile 3"]
    assert shape(frames[0]["geometry"]).bounds == (0, 48, 64, 96)
    assert frames[0]["properties"]["measurements"] == {"score": 1.0, "coverage": 0.5}
    assert "classification" not in frames[0]["properties"]
    drafts = [f for f in content["features"] if not f["properties"]["isLocked"]]
    assert {f["properties"]["classification"]["name"] for f in drafts} == {"tumor", "stroma", "lymphocytes"}
    colors = {c.name: list(c.color) for c in project.taxonomy.classes}
    found = [f["properties"]["classification"] for f in drafts]
    assert all(c["color"] == colors[c["name"]] for c in found)
    assert all(shape(f["geometry"]).is_valid for f in drafts)
    ids = [f["id"] for f in content["features"]]
    assert len({uuid.UUID(i) for i in ids}) == len(ids)
    export_qupath(project, tmp_path / "again", 1)
    assert (tmp_path / "again" / "a.geojson").read_text() == files[0].read_text()


def test_there_and_back_is_exact_and_drafts_that_nobody_touched_are_no_answers(project: Project, tmp_path: Path):
    new = drafted(project, 2)
    ask_for(project, [2, 4], [new])
    (path, _) = export_qupath(project, tmp_path / "out", 1)
    report = ingest(project, path)
    assert (report.answers, report.untouched) == (0, 1)
    assert project.store.answers.masks() == {}
    report = ingest(project, path, intake=Intake("ann", accept=True))
    assert (report.answers, report.untouched) == (1, 0)
    expected = np.where(new.mask < 3, new.mask, IGNORE)  # the unseen class is not drawn
    np.testing.assert_array_equal(project.store.answers.masks()[2], expected)
    kept = project.store.answers.newest(2)
    assert kept is not None
    assert (kept.kind, kept.author, kept.tool, kept.round) == (AnswerKind.ACCEPTED, "ann", "qupath", 1)


def test_the_same_file_again_changes_nothing(project: Project, tmp_path: Path):
    ask_for(project, [0, 1])
    path = written(tmp_path, "a.geojson", outline("tumor", square(50, 10, 30)))
    assert ingest(project, path).answers == 2
    events = len(project.store.people.events())
    report = ingest(project, path)
    assert (report.answers, report.unchanged) == (0, 2)
    assert len(project.store.people.events()) == events
    # nor does it when somebody has drawn since
    mask = np.full((64, 64), 1, np.uint8)
    project.store.answers.add(NewAnswer(0, 1, "bob", "page", AnswerKind.DRAWN, 1, mask))
    assert ingest(project, path).unchanged == 2
    newest = project.store.answers.newest(0)
    assert newest is not None
    assert newest.author == "bob"


def test_a_drawing_over_several_tiles_is_cut_by_pixel_centres(project: Project, tmp_path: Path):
    ask_for(project, [0, 1])
    path = written(tmp_path, "a.geojson", outline("stroma", square(60, 40, 10)))
    report = ingest(project, path)
    assert (report.drawings, report.answers, report.unused) == (1, 2, [])
    masks = project.store.answers.masks()
    left = np.full((96, 128), IGNORE, np.uint8)
    left[40:48, 60:70] = 1  # tiles 2 and 3 below row 48 were not asked for
    tiles = project.store.rounds.tiles()
    for tile in (0, 1):
        b = tiles[tile].box
        np.testing.assert_array_equal(masks[tile][tiles[tile].inner], left[b.y : b.y + b.height, b.x : b.x + b.width])


def test_the_later_drawing_covers_the_earlier_and_holes_stay_open(project: Project, tmp_path: Path):
    ask_for(project, [4])
    ring = Polygon(square(0, 0, 40), [square(10, 10, 10)])
    first = {**outline("tumor", []), "geometry": mapping(ring)}
    path = written(tmp_path, "b.geojson", first, outline("stroma", square(30, 30, 30)))
    ingest(project, path)
    mask = project.store.answers.masks()[4]
    assert (mask[5, 5], mask[15, 15], mask[35, 35], mask[50, 50], mask[62, 62]) == (0, IGNORE, 1, 1, IGNORE)


def test_what_could_not_be_used_is_told(project: Project, tmp_path: Path):
    ask_for(project, [0])
    features = [
        outline("tumor", square(5, 5, 9)),
        outline("tumor", square(100, 70, 9)),
        outline("necrosis", square(5, 5, 9)),
        outline("stroma", square(5000, 5, 9)),
    ]
    report = ingest(project, written(tmp_path, "a.geojson", *features))
    assert report.answers == 1
    assert [(u.number, u.reason) for u in report.unused] == [
        (2, "lies in no tile that was asked for"),
        (3, "is of 'necrosis', an unseen class"),
        (4, "lies in no tile that was asked for"),
    ]
    everywhere = ingest(project, written(tmp_path, "a.geojson", *features), intake=Intake("ann", everywhere=True))
    assert [(u.number, u.reason) for u in everywhere.unused] == [
        (3, "is of 'necrosis', an unseen class"),
        (4, "lies outside the slide"),
    ]


def test_a_tile_that_changed_since_the_export_is_not_overwritten(project: Project, tmp_path: Path):
    ask_for(project, [4])
    (path,) = export_qupath(project, tmp_path / "out", 1)
    mask = np.full((64, 64), 1, np.uint8)
    project.store.answers.add(NewAnswer(4, 1, "bob", "page", AnswerKind.DRAWN, 0, mask))
    content = json.loads(path.read_text())
    content["features"].append(outline("tumor", square(5, 5, 9)))
    path.write_text(json.dumps(content))
    for _ in range(2):
        report = ingest(project, path)
        assert (report.answers, report.stale) == (0, 1)
    assert [r.author for r in project.store.answers.refused()] == ["ann"]
    (path,) = export_qupath(project, tmp_path / "out", 1)
    content = json.loads(path.read_text())
    content["features"].append(outline("tumor", square(5, 5, 9)))
    path.write_text(json.dumps(content["features"]))
    assert ingest(project, path).answers == 1
    assert int((project.store.answers.masks()[4] == 0).sum()) == 81


def test_the_second_of_two_people_does_not_overwrite_the_first(project: Project, tmp_path: Path):
    project.store.rounds.advance(0, RoundState.FITTED)
    project.store.rounds.propose(1, "random", [PickRecord(1, 1, 4, 1.0, {}, readings=2)])
    first = written(tmp_path, "b.geojson", outline("tumor", square(5, 5, 10)))
    for _ in range(2):
        ingest(project, first)
    second = written(tmp_path, "b.geojson", outline("tumor", square(5, 10, 10)))
    for _ in range(2):
        ingest(project, second, intake=Intake("bob"))
    assert [(a.author, a.reading, a.version) for a in project.store.answers.history(4)] == [
        ("ann", 0, 1),
        ("bob", 1, 1),
    ]
    assert project.store.progress().rounds[1].left == 0
    (row,) = [r for r in agreement(project) if r.tiles]
    assert (row.name, row.tiles, row.dice) == ("tumor", 1, 0.5)  # 2 * 50 / (100 + 100)
    # Observed agreement 1 - 100/4096; by chance p^2 + (1-p)^2 with p = 100/4096 for both.
    p = 100 / 4096
    chance = p**2 + (1 - p) ** 2
    assert row.kappa == pytest.approx((1 - 100 / 4096 - chance) / (1 - chance))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (outline("tumour cells", square(5, 5, 9)), "unknown class 'tumour cells'"),
        (outline("../../../etc/cron.d/x", square(5, 5, 9)), "unknown class"),
        (outline("tumor", [[0, 0], [9, 9], [9, 0], [0, 9], [0, 0]]), "crosses itself"),
        (outline("tumor", square(1e30, 0, 1e30)), "lies on no slide"),
        (outline("tumor", square(float("nan"), 0, 1)), "NaN, which is no number"),
    ],
)
def test_a_hostile_file_changes_nothing_though_another_is_fine(
    project: Project, tmp_path: Path, bad: dict[str, Any], message: str
):
    ask_for(project, [0, 4])
    fine = written(tmp_path, "b.geojson", outline("tumor", square(5, 5, 9)))
    hostile = written(tmp_path, "a.geojson", outline("tumor", square(5, 5, 9)), bad)
    events = project.store.people.events()
    with pytest.raises(InputError, match=message) as caught:
        ingest_files(project, [fine, hostile], ANN)
    assert "a.geojson, feature 2" in str(caught.value)
    assert project.store.answers.counting() == []
    assert project.store.people.events() == events


@pytest.mark.parametrize("name", ["b.geojson.gz", "b.json.GZ", "b.gz"])
def test_a_compressed_file_is_named_as_its_slide(project: Project, tmp_path: Path, name: str):
    ask_for(project, [4])
    plain = written(tmp_path, "plain", outline("tumor", square(5, 5, 9)), outline("tumor", square(5, 5, 0)))
    (tmp_path / name).write_bytes(gzip.compress(plain.read_bytes()))
    report = ingest(project, tmp_path / name)
    assert (report.slide, report.answers) == ("b", 1)
    assert [(u.number, u.reason) for u in report.unused] == [(2, "has no area")]


def test_files_must_be_named_as_slides(project: Project, tmp_path: Path):
    ask_for(project, [4])
    path = written(tmp_path, "scan 7.geojson", outline("tumor", square(5, 5, 9)))
    with pytest.raises(InputError, match="there is no slide 'scan 7'"):
        ingest(project, path)
    with pytest.raises(InputError, match=r"there is no slide '\.\./b'"):
        ingest(project, path, slide="../b")
    assert ingest(project, path, slide="b").answers == 1
    with pytest.raises(InputError, match="one slide for several files"):
        ingest_files(project, [path, path], ANN, slide="b")


@pytest.mark.parametrize("form", ["png", "ome-tiff"])
def test_label_images_out_and_in(project: Project, tmp_path: Path, form: str):
    ask_for(project, [3, 4])
    rng = np.random.default_rng(3)
    masks = {}
    for tile in (3, 4):
        masks[tile] = rng.choice(np.array([0, 1, 2, 3, IGNORE], np.uint8), (64, 64))
        project.store.answers.add(NewAnswer(tile, 1, "ann", "page", AnswerKind.DRAWN, 0, masks[tile]))
    first, second = export_masks(project, tmp_path / "out", form)
    with Image.open(first) as image:
        labels = np.array(image)
    assert labels.shape == (96, 128)
    assert (labels[:48] == IGNORE).all()
    assert (labels[48:, :64] == IGNORE).all()
    np.testing.assert_array_equal(labels[48:, 64:], masks[3][project.store.rounds.tiles()[3].inner])
    assert import_masks(project, [first, second], "bob") == 0
    mask = np.full((64, 64), 2, np.uint8)
    project.store.answers.add(NewAnswer(4, 1, "cem", "page", AnswerKind.DRAWN, 1, mask))
    assert import_masks(project, [first, second], "bob") == 1
    newest = project.store.answers.newest(4)
    assert newest is not None
    assert (newest.author, newest.tool, newest.version) == ("bob", "import", 3)
    np.testing.assert_array_equal(project.store.answers.masks()[4], masks[4])


def test_classes_that_imported_masks_lack_are_said(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    progress = Silent()
    monkeypatch.setattr(progress, "say", said.append)
    Image.fromarray(np.repeat(np.uint8([0, 255]), 32 * 64).reshape(64, 64)).save(tmp_path / "b.png")
    assert import_masks(project, [tmp_path / "b.png"], "bob", progress) == 1
    assert said == [
        "no mask has a pixel of stroma, lymphocytes, necrosis; 50 % of all pixels have no class (255 or void)"
    ]


def test_an_ome_tiff_states_axes_and_pixel_size(project: Project, tmp_path: Path):
    import tifffile

    from aczerots.project.masks import _write_ome

    path = tmp_path / "x.ome.tif"
    _write_ome(path, np.zeros((300, 400), np.uint8), 0.25)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        assert tiff.series[0].axes == "YX"
        assert 'PhysicalSizeX="0.25"' in str(tiff.ome_metadata)


@pytest.mark.parametrize(
    ("name", "pixels", "message"),
    [
        ("a", np.zeros((9, 9), np.uint8), "the mask is 9 x 9"),
        ("a", np.full((96, 128), 9, np.uint8), "id 9, which no class has"),
        ("z", np.zeros((96, 128), np.uint8), "there is no slide 'z'"),
    ],
)
def test_bad_masks_are_refused_and_nothing_is_changed(
    project: Project, tmp_path: Path, name: str, pixels: np.ndarray, message: str
):
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "b.png")
    Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match=message):
        import_masks(project, [tmp_path / "b.png", tmp_path / f"{name}.png"], "ann")
    assert project.store.answers.counting() == []
