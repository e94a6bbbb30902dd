"""What leaves for QuPath obeys the rules of its reader, and what its versions write is read.

The rules and where they are from stand in :mod:`tests.annotation.qupath_reader`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from shapely.geometry import Point, box, mapping
from tests.annotation.qupath_reader import PathObject, RefusedError, read_objects, write_object

from aczerots.annotation.formats.geojson import read_geojson
from aczerots.annotation.formats.qupath_classes import qupath_name
from aczerots.annotation.formats.raster import rasterise, vectorise
from aczerots.annotation.store.records import AnswerKind, NewAnswer, NewDraft, PickRecord, RoundState
from aczerots.errors import InputError
from aczerots.predict.polygons import geojson, polygon_features
from aczerots.project.folder import Project, init_project, open_project
from aczerots.project.ingest import Ingested, Intake, ingest_files
from aczerots.project.qupath import export_qupath
from aczerots.project.settings import make_settings
from aczerots.slides.base import Box
from aczerots.slides.frame import Frame
from aczerots.taxonomy import IGNORE, Taxonomy, TissueClass

VERSIONS = ("0.2", "0.3", "0.4", "0.5")
COLOR = [200, 0, 0]
CLASSES: list[dict[str, Any]] = [
    {"name": "tumor", "color": COLOR},
    {"name": "Immune:dense", "color": [0, 200, 0]},
    {"name": "stroma ", "color": [0, 0, 200]},
    {"name": "necrosis", "seen": False},
]
TAXONOMY = Taxonomy(classes=tuple(TissueClass(**c) for c in CLASSES))


@pytest.fixture
def exported(tmp_path: Path) -> Any:
    """A project whose round 1 asks for four tiles of ``a``: a draft, an answer, nothing, nothing."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(90, 230, (96, 128, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    init_project(
        tmp_path / "project", [str(tmp_path / "a.png")], make_settings(classes=CLASSES, tile_size=64, budget=2)
    )
    with open_project(tmp_path / "project") as project:
        labels = np.random.default_rng(1).integers(0, 4, (16, 16)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        labels[8:24, 8:24], labels[12:20, 12:20] = 0, 1  # a hole
        masks = []
        for tile in project.store.rounds.tiles()[:2]:
            mask = np.full((64, 64), IGNORE, np.uint8)
            mask[tile.inner] = labels[tile.inner]
            masks.append(mask)
        project.store.rounds.advance(0, RoundState.FITTED)
        scores = {"coverage": 0.5, "broken": float("nan")}
        picks = [PickRecord(1, i + 1, i, 1.0, scores) for i in range(4)]
        project.store.rounds.propose(1, "random", picks, [NewDraft(0, masks[0], {}, "round-0")])
        project.store.answers.add(NewAnswer(1, 1, "ann", "page", AnswerKind.DRAWN, 0, masks[1]))
        yield project


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "a.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def ingest(project: Project, path: Path) -> Ingested:
    return ingest_files(project, [path], Intake("bob"))[0]


def test_an_export_obeys_the_rules(exported: Project, tmp_path: Path):
    (path,) = export_qupath(exported, tmp_path / "out", 1)
    found = read_objects(path.read_text())
    frames, drawings = [o for o in found if o.locked], [o for o in found if not o.locked]
    assert [f.geometry.bounds for f in frames] == [(0, 0, 64, 48), (64, 0, 128, 48), (0, 48, 64, 96), (64, 48, 128, 96)]
    assert all(f.names == () and f.measurements == {"score": 1.0, "coverage": 0.5} for f in frames)
    assert {o.names for o in drawings} == {("tumor",), ("Immune", "dense"), ("stroma",)}
    assert {o.color for o in drawings if o.names == ("tumor",)} == {tuple(COLOR)}
    assert any(len(o.geometry.interiors) for o in drawings), "no hole was tried"


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_version_hands_back_is_known_again(exported: Project, tmp_path: Path, version: str):
    (path,) = export_qupath(exported, tmp_path / "out", 1)
    back = [write_object(o, version) for o in read_objects(path.read_text())]
    back = back[1:] + back[:1]  # QuPath keeps no order between frames and drawings
    report = ingest(exported, written(tmp_path, {"type": "FeatureCollection", "features": back}))
    assert (report.answers, report.untouched, report.unchanged, report.stale) == (0, 1, 1, 0)
    kept = version == "0.5"  # only then metadata of annotations comes back
    assert report.reasons == ({} if kept else {"has no class": 4})


@pytest.mark.parametrize(("version", "stale"), [("0.4", 0), ("0.5", 1)])
def test_later_answers_are_safe_where_metadata_come_back(exported: Project, tmp_path: Path, version: str, stale: int):
    (path,) = export_qupath(exported, tmp_path / "out", 1)
    back = [write_object(o, version) for o in read_objects(path.read_text())]
    exported.store.answers.add(NewAnswer(2, 1, "ann", "page", AnswerKind.DRAWN, 0, np.zeros((64, 64), np.uint8)))
    back.append(feature(box(10, 60, 20, 70), {"name": "stroma", "color": COLOR}))
    assert ingest(exported, written(tmp_path, back)).stale == stale


def test_rounding_to_two_decimals_moves_no_pixel():
    mask = np.random.default_rng(3).integers(0, 3, (64, 64)).astype(np.uint8)
    window = Box(3, 5, 101, 101)  # 1.578... level-0 pixels per pixel
    rounded = [(i, shapely.transform(p, lambda xy: xy.round(2))) for i, p in vectorise(mask, window)]
    assert all(p.is_valid for _, p in rounded)
    np.testing.assert_array_equal(rasterise(rounded, window, (64, 64)), mask)


def test_polygons_of_maps_obey_the_rules_but_have_no_ids():
    labels = np.random.default_rng(4).integers(0, 4, (12, 12)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    features = polygon_features(labels, TAXONOMY, (4.0, 4.0), mpp=0.5)
    for i, one in enumerate(features):
        one["id"] = f"00000000-0000-4000-8000-{i:012d}"  # QuPath gives its own
    found = read_objects(geojson(features, Frame(Box(3, 4, 48, 48), False)))
    assert {o.names for o in found} == {("tumor",), ("Immune", "dense"), ("stroma",), ("necrosis",)}
    assert all(o.measurements["Area mm^2"] > 0 for o in found)


def feature(geometry: Any, classification: Any, **properties: Any) -> dict[str, Any]:
    found = {"objectType": "annotation", "classification": classification} | properties
    return {"type": "Feature", "geometry": mapping(geometry), "properties": found}


TUMOR = {"name": "tumor", "color": COLOR}
DENSE = 1
SQUARE = box(0, 0, 4, 4)
BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no id": lambda f: f.pop("id"),
    "id": lambda f: f.update(id="tile 3"),
    "objectType": lambda f: f["properties"].update(objectType="area"),
    "no color": lambda f: f["properties"]["classification"].pop("color"),
    "color": lambda f: f["properties"]["classification"].update(color=[0.5, 0, 0]),
    "colorRGB": lambda f: f["properties"]["classification"].update(colorRGB=-1),
    "line break in a class": lambda f: f["properties"]["classification"].update(name="a\nb"),
    "empty part of a class": lambda f: f["properties"]["classification"].update(name="a::b"),
    "NaN": lambda f: f["properties"].update(measurements={"a": float("nan")}),
    "measurement that is text": lambda f: f["properties"].update(measurements={"a": "1"}),
    "metadata that is a number": lambda f: f["properties"].update(metadata={"version": 1}),
    "open ring": lambda f: f["geometry"].update(coordinates=[[[0, 0], [4, 0], [4, 4], [0, 4]]]),
    "crossing": lambda f: f["geometry"].update(coordinates=[[[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]]),
    "three numbers": lambda f: f["geometry"].update(coordinates=[[[0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 0, 0]]]),
    "line": lambda f: f.update(geometry={"type": "LineString", "coordinates": [[0, 0], [1, 1]]}),
}


@pytest.mark.parametrize("name", BREAKS)
def test_the_checker_refuses_what_qupath_refuses(name: str):
    one = {**feature(SQUARE, dict(TUMOR)), "id": "0b6fcd1e-8f7f-4a0e-9d7a-0d5f4f6d0001"}
    assert len(read_objects(json.dumps([one]))) == 1
    BREAKS[name](one)
    with pytest.raises(RefusedError):
        read_objects(json.dumps([one]))


LEGACY = {"type": "Feature", "id": "PathAnnotationObject", "geometry": mapping(SQUARE)}
FORMS: dict[str, tuple[dict[str, Any], list[int], float]] = {
    "0.2, packed colour": (
        {**LEGACY, "properties": {"classification": {"name": "tumor", "colorRGB": -3670016}}},
        [0],
        16,
    ),
    "0.3, derived class": (
        {
            "type": "Feature",
            "geometry": mapping(SQUARE),
            "properties": {
                "object_type": "annotation",
                "classification": {"parentClass": {"name": "Immune", "colorRGB": 1}, "name": "dense", "colorRGB": 1},
                "isLocked": False,
                "measurements": [{"name": "Area", "value": 16.0}],
            },
        },
        [DENSE],
        16,
    ),
    "derived class by names": (feature(SQUARE, {"names": ["Immune", "dense"], "color": COLOR}), [DENSE], 16),
    "derived class by name": (feature(SQUARE, {"name": "Immune: dense", "color": COLOR}), [DENSE], 16),
    "stripped name": (feature(SQUARE, {"name": "stroma", "color": [*COLOR, 128]}), [2], 16),
    "measurements as object": (feature(SQUARE, TUMOR, measurements={"a": 1.5, "b": "NaN"}), [0], 16),
    "NaN in measurements": (feature(SQUARE, TUMOR, measurements={"a": float("nan"), "b": float("-inf")}), [0], 16),
    "NaN in a list of them": (feature(SQUARE, TUMOR, measurements=[{"name": "a", "value": float("nan")}]), [0], 16),
    "own colour, name, lock": (feature(SQUARE, TUMOR, color=[1, 2, 3], name="x", isLocked=True), [0], 16),
    "several parts with holes": (
        feature(shapely.MultiPolygon([box(0, 0, 9, 9) - box(1, 1, 3, 3), box(20, 0, 21, 1)]), TUMOR),
        [0],
        81 - 4 + 1,
    ),
    "the other direction": (feature(SQUARE.reverse(), TUMOR), [0], 16),
    "nested": (feature(SQUARE, TUMOR, childObjects=[feature(box(0, 0, 1, 1), TUMOR)] * 2), [0, 0, 0], 18),
    "nested in what has no class": (feature(SQUARE, None, children=[feature(box(0, 0, 1, 1), TUMOR)]), [0], 1),
    "no type at all": (
        {**feature(SQUARE, TUMOR), "id": "mine", "properties": {"type": "region", "classification": TUMOR}},
        [0],
        16,
    ),
}
ELLIPSE = feature(Point(5, 5).buffer(3, quad_segs=32), TUMOR)
ELLIPSE["geometry"]["isEllipse"] = True
PLANE = feature(SQUARE, TUMOR)
PLANE["geometry"]["plane"] = {"c": -1, "z": 3, "t": 0}
FORMS["ellipse"] = (ELLIPSE, [0], np.pi * 9)
FORMS["focal plane"] = (PLANE, [0], 16)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("pretty", [False, True])
def test_every_form_is_read(tmp_path: Path, name: str, pretty: bool):
    content, labels, area = FORMS[name]
    found = read_geojson(written(tmp_path, json.dumps([content], indent=2 if pretty else None)), TAXONOMY)
    assert [d.label for d in found.drawings] == labels
    assert sum(d.geometry.area for d in found.drawings) == pytest.approx(area, rel=2e-3)


LATER = feature(SQUARE, TUMOR)
LATER["geometry"]["plane"] = {"c": -1, "z": 0, "t": 2}
USELESS: dict[str, tuple[dict[str, Any], str]] = {
    "point": (feature(Point(1, 1), TUMOR), "is no area but 'Point'"),
    "points": (feature(shapely.MultiPoint([(1, 1), (2, 2)]), TUMOR), "is no area but 'MultiPoint'"),
    "line": (feature(shapely.LineString([(1, 1), (2, 2)]), TUMOR), "is no area but 'LineString'"),
    "lines": (feature(shapely.MultiLineString([[(1, 1), (2, 2)]]), TUMOR), "is no area but 'MultiLineString'"),
    "collection": (feature(shapely.GeometryCollection([Point(1, 1)]), TUMOR), "is no area but 'GeometryCollection'"),
    "cell": ({**feature(SQUARE, TUMOR, objectType="cell"), "nucleusGeometry": {}}, "is no annotation but 'cell'"),
    "core": (feature(SQUARE, None, objectType="tmaCore", isMissing=False), "is no annotation but 'tmaCore'"),
    "0.3 detection": (
        {**feature(SQUARE, TUMOR), "properties": {"object_type": "detection", "classification": TUMOR}},
        "is no annotation but 'detection'",
    ),
    "0.2 detection": (
        {**LEGACY, "id": "PathDetectionObject", "properties": {"classification": TUMOR}},
        "is no annotation but 'PathDetectionObject'",
    ),
    "no class": ({**LEGACY, "properties": {"isLocked": False}}, "has no class"),
    "the class that is none": (feature(SQUARE, {}), "has no class"),
    "unseen class": (feature(SQUARE, {"name": "necrosis", "colorRGB": -1}), "is of 'necrosis', an unseen class"),
    "another time": (LATER, "lies at another time point"),
}


@pytest.mark.parametrize("name", USELESS)
def test_what_cannot_be_used_is_reported(exported: Project, tmp_path: Path, name: str):
    content, reason = USELESS[name]
    report = ingest(exported, written(tmp_path, [content, feature(box(70, 60, 80, 70), TUMOR)]))
    assert [(u.number, u.reason) for u in report.unused] == [(1, reason)]
    assert report.answers == 1


def test_a_class_is_not_taken_for_the_end_of_another(tmp_path: Path):
    other = {"parentClass": {"name": "Stroma", "colorRGB": 1}, "name": "tumor", "colorRGB": 1}
    with pytest.raises(InputError, match="unknown class 'Stroma: tumor'"):
        read_geojson(written(tmp_path, [feature(SQUARE, other)]), TAXONOMY)


def test_names_that_qupath_makes_one_are_not_guessed(tmp_path: Path):
    twins = Taxonomy(classes=(TissueClass(name="a:b"), TissueClass(name="a:  b")))
    with pytest.raises(InputError, match="unknown class 'a: b'"):
        read_geojson(written(tmp_path, [feature(SQUARE, {"name": "a: b", "color": COLOR})]), twins)


def test_an_archive_is_told_from_text(tmp_path: Path):
    path = tmp_path / "a.geojson"
    path.write_bytes(b"PK\x03\x04rest")
    with pytest.raises(InputError, match="is a zip archive"):
        read_geojson(path, TAXONOMY)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("tumor", "tumor"), (" a b ", "a b"), ("a:b", "a: b"), ("a:: b:", "a: b"), ("a\nb", "a b")]
)
def test_names_as_qupath_keeps_them(ours: str, theirs: str):
    assert qupath_name(ours) == theirs
    assert qupath_name(theirs) == theirs


def test_the_writer_writes_what_the_reader_reads(exported: Project, tmp_path: Path):
    (path,) = export_qupath(exported, tmp_path / "out", 1)
    found: list[PathObject] = read_objects(path.read_text())
    assert read_objects(json.dumps([write_object(o, "0.5") for o in found])) == found
