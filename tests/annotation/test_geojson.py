"""GeoJSON from outside: what QuPath writes is read, what is hostile is refused with its number."""

import gzip
import io
import json
import zipfile
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


WITHOUT_AREA: dict[str, Any] = {
    "click": [[[3, 3]] * 4],
    "there and back": [[[0, 0], [9, 0], [4, 0], [0, 0]]],
    "there and back, rounded": [[[0.1, 0.1], [0.2, 0.2], [0.3, 0.3], [0.1, 0.1]]],
    "two corners": [[[0, 0], [1, 1], [0, 0]]],
    "one corner": [[[0, 0]]],
    "empty ring": [[]],
    "empty": [],
    "less than a pixel": [[[0, 0], [0.01, 0], [0.01, 0.01], [0, 0]]],
}


@pytest.mark.parametrize("name", WITHOUT_AREA)
def test_a_shape_without_area_is_unused_and_refuses_nothing(tmp_path: Path, name: str):
    one = feature(coordinates=WITHOUT_AREA[name])
    several = feature(kind="MultiPolygon", coordinates=[WITHOUT_AREA[name]] * 2)
    beside = feature(kind="MultiPolygon", coordinates=[WITHOUT_AREA[name], [SQUARE]])
    hole = feature(coordinates=[SQUARE, *WITHOUT_AREA[name]])
    found = read_geojson(written(tmp_path, [one, several, feature("stroma"), beside, hole]), TAXONOMY)
    assert found.unused == (Unused(1, "has no area"), Unused(2, "has no area"))
    assert [d.number for d in found.drawings] == [3, 4, 5]
    assert [d.geometry.area for d in found.drawings] == pytest.approx([16, 16, 16], abs=0.001)


@pytest.mark.parametrize(
    ("coordinates", "area"),
    [
        ([[[0, 0], [40, 0], [40, 40], [40, 50], [40, 40], [0, 40], [0, 0]]], 1600),  # a spike
        ([[[0, 0], [40, 0], [40, 0], [40, 40], [0, 40], [0, 40], [0, 0]]], 1600),  # corners twice
        ([[[0, 0], [40, 0], [40, 40], [20, 40.01], [21, 39.99], [0, 40], [0, 0]]], 1600),  # crosses by a hair
        ([[[0, 0], [40, 0], [40, 40], [0, 40], [0, 0]], [[0, 9], [4, 9], [4, 20], [0, 20], [0, 9]]], 1556),
    ],
)
def test_outlines_that_touch_themselves_are_mended(tmp_path: Path, coordinates: Any, area: float):
    (found,) = read_geojson(written(tmp_path, [feature(coordinates=coordinates)]), TAXONOMY).drawings
    assert found.geometry.is_valid
    assert found.geometry.area == pytest.approx(area, rel=0.002)


def test_parts_may_touch_and_not_overlap(tmp_path: Path):
    right = [[4, 0], [8, 0], [8, 4], [4, 4], [4, 0]]
    (found,) = read_geojson(
        written(tmp_path, [feature(kind="MultiPolygon", coordinates=[[SQUARE], [right]])]), TAXONOMY
    ).drawings
    assert found.geometry.area == 32
    inner = [[1, 1], [3, 1], [3, 3], [1, 3], [1, 1]]
    with pytest.raises(InputError, match="its parts overlap"):
        read_geojson(written(tmp_path, [feature(kind="MultiPolygon", coordinates=[[SQUARE], [inner]])]), TAXONOMY)


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, TEXT)
    return buffer.getvalue()


TEXT = json.dumps([feature(), feature("stroma")], indent=1)
PACKED = {
    "gzip": gzip.compress(TEXT.encode()),
    "zip": zipped("folder/slide.geojson"),
    "zip of macOS": zipped("slide.geojson", "__MACOSX/._slide.geojson"),
    "zip with a note": zipped("read me.txt", "slide.json"),
    "utf-16 in gzip": gzip.compress(TEXT.encode("utf-16")),
    **{encoding: TEXT.encode(encoding) for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")},
}


@pytest.mark.parametrize("form", PACKED)
def test_compressed_files_and_other_encodings_are_read(tmp_path: Path, form: str):
    path = tmp_path / "slide.geojson"
    path.write_bytes(PACKED[form])
    assert [d.label for d in read_geojson(path, TAXONOMY).drawings] == [0, 1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zipped("a.geojson", "b.geojson"), "an archive of 2 files. Unpack it"),
        (zipped(), "no GeoJSON|archive of 0 files"),
        (zipped("a.geojson")[:-30], "cannot be unpacked"),
        (PACKED["gzip"][:-30], "cannot be unpacked"),
        (gzip.compress(b" " * (geojson_features.MAX_BYTES + 1)), "larger than 64 MB"),
        (b"BZh91AY", "compressed by bzip2"),
        (b"\xfd7zXZ\x00", "compressed by xz"),
        (b"\xac\xed\x00\x05", "data of QuPath itself"),
        ('[{"type": "caf\u00e9"}]'.encode("latin-1"), "not UTF-8 text, nor UTF-16. Save it as UTF-8"),
    ],
)
def test_what_cannot_be_unpacked_is_named(tmp_path: Path, data: bytes, message: str):
    path = tmp_path / "slide.geojson"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_geojson(path, TAXONOMY)


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
    "long integer": (feature(coordinates=[[[0, 0], [10**30, 0], [1, 1], [0, 0]]]), "no list of pairs"),
    "crossing": (feature(coordinates=[[[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]]), r"crosses itself \(self-inters"),
    "hole outside": (feature(coordinates=[SQUARE, [[9, 9], [10, 9], [10, 10], [9, 9]]]), "crosses itself"),
    "open ring": (feature(coordinates=[SQUARE[:-1]]), "does not end where it begins"),
    "strings": (feature(coordinates=[[["0", "0"]] * 4]), "no list of pairs of numbers"),
    "words": (feature(coordinates=["abcd"]), "no pairs of numbers"),
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
