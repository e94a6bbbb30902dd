"""GeoJSON from outside: what QuPath writes is read, what is hostile is refused with its number."""

import json
from pathlib import Path
from typing import Any

import pytest

from aczerots.annotation.formats import geojson_features
from aczerots.annotation.formats.geojson import Unused, read_geojson
from aczerots.errors import InputError
from aczerots.taxonomy import Taxonomy, TissueClass

TAXONOMY = Taxonomy(
    classes=(
        TissueClass(name="tumor"),
        TissueClass(name="stroma"),
        TissueClass(name="Immune: dense"),
        TissueClass(name="necrosis", seen=False),
    )
)
SQUARE = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]


def feature(name: Any = "tumor", coordinates: Any = None, kind: str = "Polygon", **properties: Any) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": [SQUARE] if coordinates is None else coordinates}
    found = {"objectType": "annotation", "classification": {"name": name, "color": [1, 2, 3]}} | properties
    return {"type": "Feature", "id": "0f5", "geometry": geometry, "properties": found}


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "slide.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", ["collection", "array", "one", "indented"])
def test_every_form_of_file(tmp_path: Path, form: str):
    one = feature()
    contents: dict[str, Any] = {
        "collection": {"type": "FeatureCollection", "features": [one], "extra": {"features": [1]}},
        "array": [one],
        "one": one,
        "indented": json.dumps({"features": [one], "type": "FeatureCollection"}, indent=4) + "\n",
    }
    found = read_geojson(written(tmp_path, contents[form]), TAXONOMY)
    assert [(d.number, d.label, d.geometry.area) for d in found.drawings] == [(1, 0, 16.0)]
    assert found.unused == ()


def test_names_of_a_derived_class_and_holes_and_several_parts(tmp_path: Path):
    hole = [[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]
    far = [[[9, 9], [11, 9], [11, 11], [9, 9]]]
    derived = feature(classification={"names": ["Immune", "dense"], "color": [9, 9, 9]})
    parts = feature("stroma", [[SQUARE, hole], far], "MultiPolygon")
    found = read_geojson(written(tmp_path, [derived, parts]), TAXONOMY)
    assert [(d.label, d.geometry.area) for d in found.drawings] == [(2, 16.0), (1, 17.0)]


def test_what_is_of_no_use_is_listed_and_the_rest_is_read(tmp_path: Path):
    content = [
        feature(classification=None),
        feature(kind="Point", coordinates=[1, 1]),
        feature("Tumour cell", objectType="detection"),
        feature("necrosis"),
        {"type": "Feature", "geometry": None, "properties": {}},
        feature(),
    ]
    found = read_geojson(written(tmp_path, content), TAXONOMY)
    assert [d.number for d in found.drawings] == [6]
    assert found.unused == (
        Unused(1, "has no class"),
        Unused(2, "is no area but 'Point'"),
        Unused(3, "is no annotation but 'detection'"),
        Unused(4, "is of 'necrosis', an unseen class"),
        Unused(5, "has no geometry"),
    )


def test_frames_of_exported_tiles_tell_their_version(tmp_path: Path):
    frame = feature(classification=None, metadata={"aczerots tile": "s@0,0,4,4", "version": "3"})
    found = read_geojson(written(tmp_path, [frame, feature()]), TAXONOMY)
    assert found.versions == {"s@0,0,4,4": 3}
    assert found.unused == ()


HOSTILE: dict[str, tuple[Any, str]] = {
    "unknown class": (feature("tumour epithelium"), "unknown class 'tumour epithelium'"),
    "path in a name": (feature("../../etc/passwd"), "unknown class '../../etc/passwd'"),
    "terminal codes in a name": (feature("\x1b[2J"), r"unknown class '\\x1b\[2J'"),
    "name that is long": (feature("x" * 100_000), r"unknown class 'x{79}\.\.\."),
    "name that is a list": (feature(["tumor"]), "without a name"),
    "NaN": (feature(coordinates="NAN"), "NaN, which is no number"),
    "infinite": (feature(coordinates="HUGE"), "lies on no slide"),
    "beyond every slide": (feature(coordinates=[[[0, 0], [1e9, 0], [1e9, 1], [0, 0]]]), "lies on no slide"),
    "integer without end": (feature(coordinates="INTEGER"), "not JSON"),
    "long integer": (feature(coordinates=[[[0, 0], [10**30, 0], [1, 1], [0, 0]]]), "list of at least four pairs"),
    "crossing": (feature(coordinates=[[[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]]), r"crosses itself \(self-inters"),
    "hole outside": (feature(coordinates=[SQUARE, [[9, 9], [10, 9], [10, 10], [9, 9]]]), "crosses itself"),
    "open ring": (feature(coordinates=[SQUARE[:-1]]), "does not end where it begins"),
    "short ring": (feature(coordinates=[[[0, 0], [1, 1], [0, 0]]]), "at least four"),
    "strings": (feature(coordinates=[[["0", "0"]] * 4]), "at least four pairs of numbers"),
    "words": (feature(coordinates=["abcd"]), "no pairs of numbers|at least four"),
    "no rings": (feature(coordinates=[]), "no coordinates"),
    "coordinates missing": (feature(coordinates={}), "no coordinates"),
    "deep in the coordinates": (feature(coordinates="DEEP"), "nested too deeply"),
    "deep, but not too deep for JSON": (feature(coordinates=[[[[[[[SQUARE]]]]]]]), "pairs of numbers"),
    "no feature": ("text", "no GeoJSON feature"),
    "properties that are a list": ({"type": "Feature", "properties": [1]}, "no GeoJSON feature"),
    "classification that is text": (feature(classification="tumor"), "no object"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("collection", [False, True])
def test_hostile_features_are_refused_with_their_number(tmp_path: Path, name: str, collection: bool):
    bad, message = HOSTILE[name]
    content: Any = [feature(), feature("stroma"), bad, feature()]
    text = json.dumps({"type": "FeatureCollection", "features": content} if collection else content)
    tricks = {
        "NAN": "[[[NaN, 0],[0,0],[1,1],[NaN,0]]]",
        "HUGE": "[[[1e999, 0],[0,0],[1,1],[1e999,0]]]",
        "INTEGER": f"[[[{'9' * 5000}, 0]]]",
    }
    tricks["DEEP"] = "[" * 200_000 + "]" * 200_000
    for word, trick in tricks.items():
        text = text.replace(f'"{word}"', trick)
    with pytest.raises(InputError, match=message) as caught:
        read_geojson(written(tmp_path, text), TAXONOMY)
    assert caught.value.where is not None
    assert caught.value.where.endswith("feature 3")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no GeoJSON"),
        ("7", "no GeoJSON"),
        ("{}", "holds no features"),
        ('{"type": "FeatureCollection", "features": {}}', "holds no features"),
        ("[" + json.dumps(feature()), "after feature 1: this is not JSON"),
        ("[" + json.dumps(feature())[:-9], "feature 1: this is not JSON"),
        ("[] []", "after the end"),
        ('{"a" 1}', "':' is missing"),
        ("[" * 100_000, "feature 1: is nested too deeply"),
    ],
)
def test_broken_files_are_one_clear_error(tmp_path: Path, text: str, message: str):
    with pytest.raises(InputError, match=message):
        read_geojson(written(tmp_path, text), TAXONOMY)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path):
    path = tmp_path / "large.geojson"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    assert path.stat().st_size > geojson_features.MAX_BYTES
    with pytest.raises(InputError, match="larger than 64 MB"):
        read_geojson(path, TAXONOMY)


def test_other_bytes_and_missing_files(tmp_path: Path):
    path = tmp_path / "x.geojson"
    with pytest.raises(InputError, match="cannot be read"):
        read_geojson(path, TAXONOMY)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_geojson(path, TAXONOMY)
