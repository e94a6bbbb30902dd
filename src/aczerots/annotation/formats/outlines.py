"""Drawn outlines as areas: clicks and lines are told from outlines that cross themselves; a hair of that is mended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import InputError, extra_needed

if TYPE_CHECKING:
    from shapely.geometry import MultiPolygon, Polygon
    from shapely.geometry.base import BaseGeometry

TOLERANCE = 0.02
"""Fraction of its area that an outline may gain or lose by crossing itself: programs round corners."""

NO_AREA = "has no area"
"""Why a click or a line is not used."""

_SMALLEST = 0.01
"""Square pixels; less is a click or a line."""


def area_inside(rings: Sequence[NDArray[np.float64]], where: str) -> Polygon | MultiPolygon | None:
    """The area inside of an outline and outside of its holes; None if there is none.

    Args:
        rings: Corners float64 [n, 2] of the outline, then of its holes; level-0 pixels, closed or not.
        where: Names the drawing in errors.

    Raises:
        InputError: A ring crosses itself or another one by more than :data:`TOLERANCE` of the area.
        MissingExtraError: The extra ``project`` is not installed.
    """
    with extra_needed("project", "reading drawings"):
        import shapely
        from shapely.geometry import Polygon
    wide = [ring for ring in rings[1:] if len(ring) > 2]
    if not rings or len(rings[0]) < 3:
        return None
    drawn = Polygon(rings[0], wide)
    if drawn.is_valid:
        return drawn if drawn.area >= _SMALLEST else None
    outer, *holes = (_shoelace(ring) for ring in (rings[0], *wide))
    whole = _areas_of(shapely.make_valid(drawn, method="structure", keep_collapsed=False))
    if whole is None and outer < _SMALLEST:
        return None
    if whole is None or abs(whole.area - outer + sum(holes)) > TOLERANCE * whole.area:
        reason = shapely.is_valid_reason(drawn).lower()
        raise InputError(f"has an outline that crosses itself ({reason})", where=where, fix="Draw it again")
    return whole


def joined(parts: Sequence[Polygon | MultiPolygon], where: str) -> Polygon | MultiPolygon | None:
    """Several areas as one; None if there are none.

    Raises:
        InputError: They overlap by more than :data:`TOLERANCE`.
    """
    if len(parts) < 2:
        return parts[0] if parts else None
    import shapely

    whole = _areas_of(shapely.union_all(parts))
    if whole is None or sum(p.area for p in parts) - whole.area > TOLERANCE * whole.area:
        raise InputError("has an outline that crosses itself: its parts overlap", where=where, fix="Draw it again")
    return whole


def _areas_of(geometry: BaseGeometry) -> Polygon | MultiPolygon | None:
    """The areas in a geometry without its points and lines; None if there are none."""
    import shapely
    from shapely.geometry import MultiPolygon, Polygon

    whole = shapely.union_all([p for p in getattr(geometry, "geoms", [geometry]) if isinstance(p, Polygon)])
    return whole if isinstance(whole, Polygon | MultiPolygon) and whole.area >= _SMALLEST else None


def _shoelace(ring: NDArray[np.float64]) -> float:
    """Area inside of a ring whose parts count with the sign of their direction."""
    x, y = (ring - ring[0]).T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
