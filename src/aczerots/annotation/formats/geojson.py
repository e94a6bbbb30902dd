"""Drawings in GeoJSON, from QuPath and from other programs, checked before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.geojson_features import read_features
from aczerots.annotation.formats.outlines import NO_AREA, area_inside, joined
from aczerots.annotation.formats.qupath_classes import (
    ANNOTATION,
    class_name,
    locate_class,
    object_type,
    shown,
    with_children,
)
from aczerots.errors import InputError
from aczerots.taxonomy import Taxonomy

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon, Polygon

MAX_COORDINATE = 1e7
"""Level-0 pixels; the largest slides have some 300,000 on a side."""


@dataclass(frozen=True)
class Drawing:
    """A classified outline: its place in the file, from 1, label id, and valid geometry in level-0 pixels."""

    number: int
    label: int
    geometry: Polygon | MultiPolygon


@dataclass(frozen=True)
class Unused:
    """A valid feature that is not used: its place in the file, from 1, and why."""

    number: int
    reason: str


@dataclass(frozen=True)
class Drawings:
    """What a file holds.

    Attributes:
        drawings: In the order of the file; a later one covers an earlier one.
        unused: Features that are not used.
        versions: Version that each exported tile had, by tile id; only of tiles whose frame is still in the file.
    """

    drawings: tuple[Drawing, ...]
    unused: tuple[Unused, ...]
    versions: Mapping[str, int] = field(default_factory=dict)


def read_geojson(path: Path, taxonomy: Taxonomy) -> Drawings:
    """All drawings of a file.

    Classes are found by ``properties.classification`` in every form that QuPath has written. Polygons and
    multipolygons with holes are used, nested ones too and in any focal plane. Points, lines, shapes without area,
    detections, features without a class, drawings of unseen classes or at another time than the first are listed as
    unused.

    Raises:
        InputError: The file is refused as a whole, with the number of the first bad feature: not JSON, a class that
            the taxonomy lacks, rings that are open or cross themselves, coordinates that are no finite numbers or
            beyond :data:`MAX_COORDINATE`.
        MissingExtraError: The extra ``project`` is not installed.
    """
    drawings: list[Drawing] = []
    unused: list[Unused] = []
    versions: dict[str, int] = {}
    nested = ((n, f) for n, outer in read_features(path) for f in with_children(outer))
    for number, feature in nested:
        where = f"{path}, feature {number}"
        properties = feature.get("properties") or {}
        if feature.get("type") != "Feature" or not isinstance(properties, dict):
            raise InputError("is no GeoJSON feature", where=where)
        tile = _exported_tile(properties)
        if tile is not None:
            versions[tile[0]] = tile[1]
            continue
        outcome = _drawing(number, feature, properties, taxonomy, where)
        if isinstance(outcome, Drawing):
            drawings.append(outcome)
        else:
            unused.append(outcome)
    return Drawings(tuple(drawings), tuple(unused), versions)


def _exported_tile(properties: Mapping[str, Any]) -> tuple[str, int] | None:
    """(tile id, version) of the frame of a tile that we exported; None for anything else."""
    metadata = properties.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("aczerots tile"), str):
        return None
    version = str(metadata.get("version", ""))
    known = version.isascii() and version.isdigit() and len(version) < 9
    return metadata["aczerots tile"], int(version) if known else 0


def _drawing(
    number: int, feature: Mapping[str, Any], properties: Mapping[str, Any], taxonomy: Taxonomy, where: str
) -> Drawing | Unused:
    geometry = feature.get("geometry")
    if not isinstance(geometry, dict):
        return Unused(number, "has no geometry")
    obstacle = _obstacle(feature, properties, geometry)
    if obstacle is not None:
        return Unused(number, obstacle)
    name = class_name(properties, where)
    if name is None:
        return Unused(number, "has no class")
    label = locate_class(name, taxonomy, where)
    shape = _shape(geometry["type"], geometry.get("coordinates"), where)
    if shape is None:
        return Unused(number, NO_AREA)
    if not taxonomy.classes[label].seen:
        return Unused(number, f"is of '{taxonomy.names[label]}', an unseen class")
    return Drawing(number, label, shape)


def _obstacle(feature: Mapping[str, Any], properties: Mapping[str, Any], geometry: Mapping[str, Any]) -> str | None:
    """Why a feature cannot be an outline that somebody drew."""
    kind = object_type(feature, properties)
    if kind != ANNOTATION:
        return f"is no annotation but {shown(kind)}"
    if geometry.get("type") not in {"Polygon", "MultiPolygon"}:
        return f"is no area but {shown(geometry.get('type'))}"
    plane = geometry.get("plane")
    if isinstance(plane, dict) and plane.get("t", 0) != 0:
        return "lies at another time point"
    return None


def _shape(kind: str, coordinates: Any, where: str) -> Polygon | MultiPolygon | None:
    """The checked geometry, None if it has no area."""
    if not isinstance(coordinates, list):
        raise InputError("has no coordinates", where=where)
    parts = [coordinates] if kind == "Polygon" else coordinates
    if not all(isinstance(rings, list) for rings in parts):
        raise InputError("has a polygon without rings", where=where)
    areas = [area_inside([_ring(ring, where) for ring in rings], where) for rings in parts]
    return joined([area for area in areas if area is not None], where)


def _ring(ring: Any, where: str) -> NDArray[np.float64]:
    """Corners float64 [n, 2] of a closed ring, [0, 2] of an empty one."""
    if ring == []:
        return np.empty((0, 2))
    try:
        corners = np.array([(p[0], p[1]) for p in ring])
    except (TypeError, ValueError, IndexError, KeyError, OverflowError):
        raise InputError("has coordinates that are no pairs of numbers", where=where) from None
    if corners.ndim != 2 or corners.dtype.kind not in "iuf":
        raise InputError("has a ring that is no list of pairs of numbers", where=where)
    numbers = corners.astype(np.float64)
    if np.isnan(numbers).any():
        raise InputError("has a coordinate that is NaN, which is no number", where=where)
    if not np.isfinite(numbers).all() or np.abs(numbers).max() > MAX_COORDINATE:
        raise InputError("has a coordinate that lies on no slide", where=where)
    if (numbers[0] != numbers[-1]).any():
        raise InputError("has a ring that does not end where it begins", where=where)
    return numbers[:-1]
