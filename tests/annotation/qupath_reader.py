"""QuPath's rules for GeoJSON as a strict reader and a writer, made from facts and not from our code.

QuPath itself is not run. The facts are those of its sources (github.com/qupath/qupath, folder ``qupath-core``:
``lib/io/QuPathTypeAdapters`` and the older ``PathObjectTypeAdapters``, ``ROITypeAdapters``, ``GsonTools``,
``lib/objects/classes/PathClass``, ``ExportObjectsCommand`` in ``qupath-gui-fx``) and of its issue 1293:

- A file is a FeatureCollection, an array of features or (when written) a single feature.
- ``id`` is a UUID since 0.4; in 0.2 it was the Java class of the object, such as ``PathAnnotationObject``.
- ``properties.objectType`` says what it is, ``object_type`` did so before 0.4. Without any it is an annotation.
- A classification without ``colorRGB`` (the packed colour of versions before 0.4) is read only if it has ``name`` or
  ``names`` and ``color``, 3 or 4 integers; anything else ends the import. Names are split at colons and stripped; an
  empty part or a line break ends the import. Before 0.4 a derived class had a nested ``parentClass``.
- ``measurements`` is an object since 0.4, a list of ``name`` and ``value`` before; both are read. NaN was written as a
  bare word, which QuPath 0.4 could not read back; since 0.5 it is a string.
- ``metadata`` has text values and is kept for annotations since 0.5 only. ``isLocked`` is written if it is true.
- Rings are closed, have four corners or none, two numbers each, written with two decimals. Their direction is free.
- An ellipse is a polygon with ``isEllipse``; ``plane`` (c, z, t) is written unless it is the first.
"""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import dataclass
from typing import Any

import shapely
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

KINDS = {"annotation", "detection", "cell", "tile", "tmaCore", "root"}


class RefusedError(Exception):
    """QuPath would not read it, or not as it was meant."""


@dataclass(frozen=True)
class PathObject:
    """What QuPath would have in its hierarchy."""

    id: uuid.UUID
    kind: str
    geometry: BaseGeometry
    names: tuple[str, ...]
    color: tuple[int, ...]
    name: str | None
    locked: bool
    measurements: dict[str, float]
    metadata: dict[str, str]


def need(fact: bool, what: str) -> None:
    if not fact:
        raise RefusedError(what)


def whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_objects(text: str) -> list[PathObject]:
    """All objects of a file that any version from 0.4 reads."""

    def constant(word: str) -> None:
        raise RefusedError(f"{word} is not JSON")

    content = json.loads(text, parse_constant=constant)
    if isinstance(content, dict):
        need(content.get("type") == "FeatureCollection", "the type of the file")
        content = content.get("features")
    need(isinstance(content, list), "no list of features")
    found = [read_object(f) for f in content]
    need(len({o.id for o in found}) == len(found), "an id twice")
    return found


def read_object(feature: Any) -> PathObject:
    need(isinstance(feature, dict) and feature.get("type") == "Feature", "no feature")
    try:
        identity = uuid.UUID(feature["id"])
    except (KeyError, ValueError) as error:
        raise RefusedError("the id") from error
    need(str(identity) == feature["id"], "the form of the id")
    properties = feature.get("properties")
    need(isinstance(properties, dict), "properties")
    need(properties.get("objectType") in KINDS, "objectType")
    need("name" not in properties or isinstance(properties["name"], str), "name")
    need(isinstance(properties.get("isLocked", False), bool), "isLocked")
    measurements, metadata = properties.get("measurements", {}), properties.get("metadata", {})
    need(isinstance(measurements, dict) and all(map(number, measurements.values())), "measurements")
    need(isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values()), "metadata")
    names, color = read_class(properties["classification"]) if "classification" in properties else ((), ())
    return PathObject(
        identity,
        properties["objectType"],
        read_geometry(feature.get("geometry")),
        names,
        color,
        properties.get("name"),
        properties.get("isLocked", False),
        measurements,
        metadata,
    )


def read_class(found: Any) -> tuple[tuple[str, ...], tuple[int, ...]]:
    need(isinstance(found, dict), "classification")
    need(("name" in found) != ("names" in found), "name or names")
    need("color" in found and "colorRGB" not in found, "no color")
    color = found["color"]
    need(isinstance(color, list) and len(color) in {3, 4} and all(whole(c, 0, 255) for c in color), "color")
    names = found["name"].split(":") if "name" in found else found["names"]
    need(all(isinstance(n, str) and n.strip() and not set(n) & set(":\r\n") for n in names), "a class name")
    return tuple(n.strip() for n in names), tuple(color)


def read_geometry(found: Any) -> BaseGeometry:
    need(isinstance(found, dict) and found.get("type") in {"Polygon", "MultiPolygon"}, "the type of the geometry")
    need(isinstance(found.get("isEllipse", False), bool), "isEllipse")
    need(all(whole(v, -1, 10_000) for v in found.get("plane", {}).values()), "plane")
    parts = [found["coordinates"]] if found["type"] == "Polygon" else found["coordinates"]
    need(bool(parts) and all(parts), "no rings")
    for ring in (ring for part in parts for ring in part):
        need(len(ring) >= 4 and ring[0] == ring[-1], "a ring that is open or short")
        need(all(len(p) == 2 and all(map(number, p)) for p in ring), "a corner")
    geometry = shape(found)
    need(geometry.is_valid and geometry.area > 0, "an outline that crosses itself")
    return geometry


def write_object(found: PathObject, version: str) -> dict[str, Any]:
    """The feature that a version of QuPath writes of an annotation."""
    old = version in {"0.2", "0.3"}
    rounded = shapely.transform(found.geometry, lambda points: points.round(2))
    properties: dict[str, Any] = {"0.2": {}, "0.3": {"object_type": "annotation"}}.get(
        version, {"objectType": "annotation"}
    )
    if found.name is not None:
        properties["name"] = found.name
    if found.names:
        properties["classification"] = old_class(found) if old else new_class(found)
    if old or found.locked:
        properties["isLocked"] = found.locked
    if found.measurements:
        pairs = found.measurements.items()
        properties["measurements"] = [{"name": k, "value": v} for k, v in pairs] if old else dict(pairs)
    if version == "0.5" and found.metadata:
        properties["metadata"] = found.metadata
    feature = {"type": "Feature", "geometry": mapping(rounded), "properties": properties}
    if version != "0.3":
        feature["id"] = "PathAnnotationObject" if version == "0.2" else str(found.id)
    return feature


def new_class(found: PathObject) -> dict[str, Any]:
    key: dict[str, Any] = {"name": found.names[0]} if len(found.names) == 1 else {"names": list(found.names)}
    return {**key, "color": list(found.color)}


def old_class(found: PathObject) -> dict[str, Any]:
    red, green, blue = found.color[:3]
    packed = ((255 << 24) | (red << 16) | (green << 8) | blue) - 2**32
    inner: dict[str, Any] = {}
    for name in found.names:
        inner = {**({"parentClass": inner} if inner else {}), "name": name, "colorRGB": packed}
    return inner
