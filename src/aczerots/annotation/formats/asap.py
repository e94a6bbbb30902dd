"""ASAP annotation files: the XML that the QuPath extension of MONAI Label reads and writes.

``ASAP_Annotations / Annotations (X, Y: origin) / Annotation (PartOfGroup: class) / Coordinates / Coordinate (X, Y)``,
one ring per annotation: the format knows no holes. Corners are relative to the origin, in level-0 pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import numpy as np

from aczerots.annotation.formats.geojson import MAX_COORDINATE, Drawing, Drawings, Unused
from aczerots.annotation.formats.outlines import NO_AREA, area_inside
from aczerots.annotation.formats.qupath_classes import locate_class, xml_text
from aczerots.errors import InputError
from aczerots.taxonomy import IGNORE, Taxonomy

if TYPE_CHECKING:
    from shapely.geometry import Polygon

_DEEPEST = 16
_NO_AREA = {"Dot", "PointSet", "Measurement", "Points", "Line", "Polyline"}


@dataclass
class _Annotation:
    """An annotation while it is read."""

    kind: str
    name: str
    corners: list[tuple[float, float]] = field(default_factory=list)


class _Reader:
    """Collects the annotations of a document. It refuses document types, and with them entities."""

    def __init__(self) -> None:
        self.found: list[_Annotation] = []
        self.origin = 0.0, 0.0
        self._depth = 0
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._doctype

    def read(self, data: bytes) -> None:
        """Read a whole document."""
        try:
            self._parser.Parse(data, True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise InputError(f"this is not XML: {error}", where=self._where()) from None

    def _where(self) -> str:
        return f"annotation {len(self.found)}" if self.found else "annotations"

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise InputError("is nested too deeply", where=self._where())
        if self._depth == 1 and name != "ASAP_Annotations":
            raise InputError(f"begins with <{name[:40]}>, not with <ASAP_Annotations>", where="annotations")
        if name == "Annotations":
            self.origin = self._pair(attributes, default="0")
        elif name == "Annotation":
            group = attributes.get("PartOfGroup", "None")
            label = attributes.get("Name", "") if group in {"", "None"} else group
            self.found.append(_Annotation(attributes.get("Type", "Polygon"), label))
        elif name == "Coordinate":
            if not self.found:
                raise InputError("has a corner outside of any annotation", where="annotations")
            self.found[-1].corners.append(self._pair(attributes))

    def _end(self, name: str) -> None:
        del name
        self._depth -= 1

    def _pair(self, attributes: dict[str, str], default: str = "") -> tuple[float, float]:
        try:
            x, y = (float(attributes.get(key, default)) for key in ("X", "Y"))
        except ValueError:
            raise InputError("has a corner that is no pair of numbers", where=self._where()) from None
        if not (abs(x) <= MAX_COORDINATE and abs(y) <= MAX_COORDINATE):
            raise InputError("has a corner that lies on no slide", where=self._where())
        return x, y

    def _doctype(self, *declaration: Any) -> None:
        del declaration
        raise InputError("has a document type, which annotations do not need", where="annotations")


def read_asap(data: bytes, taxonomy: Taxonomy) -> Drawings:
    """The drawings of an ASAP file, in level-0 pixels of the slide.

    An area of an unseen class becomes a drawing of IGNORE: what it covers is not annotated. Since QuPath cuts corners
    to whole pixels, an outline may touch itself; it is mended. Points, lines and shapes without area are unused.

    Raises:
        InputError: The file is refused as a whole, with the number of the first bad annotation: not XML, a class that
            the taxonomy lacks, an outline that crosses itself, or a corner on no slide.
        MissingExtraError: The extra ``project`` is not installed.
    """
    reader = _Reader()
    reader.read(data)
    drawings: list[Drawing] = []
    unused: list[Unused] = []
    for number, one in enumerate(reader.found, start=1):
        where = f"annotation {number}"
        if one.kind in _NO_AREA:
            unused.append(Unused(number, f"is no area but {one.kind}"))
        elif not one.name:
            unused.append(Unused(number, "has no class"))
        else:
            label = locate_class(one.name, taxonomy, where)
            drawn = label if taxonomy.classes[label].seen else IGNORE
            area = area_inside([np.array(one.corners, dtype=np.float64).reshape(-1, 2) + reader.origin], where)
            if area is None:
                unused.append(Unused(number, NO_AREA))
            else:
                drawings.append(Drawing(number, drawn, area))
    return Drawings(tuple(drawings), tuple(unused))


def write_asap(regions: Iterable[tuple[str, tuple[int, int, int], Polygon]], name: str, corner: tuple[int, int]) -> str:
    """An ASAP file of regions; polygons with holes are cut into pieces without.

    Args:
        regions: (class, colour, polygon in level-0 pixels).
        name: Of the image.
        corner: What is written as the origin; corners of polygons stay those of level 0, as MONAI Label writes them.
    """
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<ASAP_Annotations>"]
    lines.append(
        f'<Annotations Name={quoteattr(xml_text(name))} Description="aczerots" X="{corner[0]}" Y="{corner[1]}">'
    )
    groups: dict[str, str] = {}
    for given, color, polygon in regions:
        title = xml_text(given)
        groups[title] = hexed = "#{:02x}{:02x}{:02x}".format(*color)
        head = f'<Annotation Name={quoteattr(title)} Type="Polygon" PartOfGroup={quoteattr(title)} Color="{hexed}">'
        for piece in without_holes(polygon):
            lines += [head, "<Coordinates>"]
            lines += [
                f'<Coordinate Order="{i}" X="{_number(x)}" Y="{_number(y)}"/>'
                for i, (x, y) in enumerate(piece.exterior.coords[:-1])
            ]
            lines += ["</Coordinates>", "</Annotation>"]
    lines += ["</Annotations>", "<AnnotationGroups>"]
    lines += [f'<Group Name={quoteattr(t)} PartOfGroup="None" Color="{c}"/>' for t, c in groups.items()]
    return "\n".join([*lines, "</AnnotationGroups>", "</ASAP_Annotations>", ""])


def without_holes(polygon: Polygon) -> Sequence[Polygon]:
    """Pieces of a polygon that have no holes and together cover the same; cut along a column through each hole."""
    from shapely.geometry import Polygon, box

    if not polygon.interiors:
        return [polygon]
    left, top, right, bottom = polygon.bounds
    # Through the middle one of the holes: the depth grows with the logarithm of their number.
    spans = sorted((ring.bounds[0], ring.bounds[2]) for ring in polygon.interiors)
    start, end = spans[len(spans) // 2]
    cut = round((start + end) / 2) if end - start >= 1 else (start + end) / 2
    pieces: list[Polygon] = []
    for half in (box(left, top, cut, bottom), box(cut, top, right, bottom)):
        part = polygon.intersection(half)
        for one in getattr(part, "geoms", [part]):
            if isinstance(one, Polygon) and one.area > 0:
                pieces += without_holes(one)
    return pieces


def _number(value: float) -> str:
    """Whole numbers as such: some readers take no others."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
