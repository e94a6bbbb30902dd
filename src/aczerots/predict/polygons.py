"""Label maps as polygons: GeoJSON in level-0 pixels, as QuPath reads and writes it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.qupath_classes import qupath_names
from aczerots.errors import extra_needed
from aczerots.taxonomy import IGNORE, Taxonomy

TOLERANCE = 1.0
"""How far simplified borders may leave the drawn ones, in pixels of the map that is traced."""


def polygon_features(
    labels: NDArray[np.uint8],
    taxonomy: Taxonomy,
    scale: tuple[float, float],
    *,
    mpp: float | None = None,
    smallest: int = 16,
) -> list[dict[str, Any]]:
    """One GeoJSON feature per connected region.

    Regions are simplified together, so that neighbours keep a common border (coverage simplification after
    Visvalingam and Whyatt, 1993).

    Args:
        labels: Label ids uint8 [h, w]; IGNORE is not traced.
        taxonomy: The classes.
        scale: Level-0 pixels per pixel of ``labels``, (x, y).
        mpp: Micrometres per level-0 pixel; gives areas in mm2.
        smallest: Smaller regions, in pixels of ``labels``, become part of the neighbour with the longest border.

    Returns:
        Features with coordinates in level-0 pixels, from top to bottom; ``properties`` as QuPath has them
        (``objectType``, ``classification`` with name and colour) and ``measurements``.

    Raises:
        MissingExtraError: rasterio or shapely is not installed.
    """
    with extra_needed("slides", "writing polygons"):
        import shapely
        from rasterio.features import shapes, sieve
        from shapely.geometry import mapping, shape

    calm = np.asarray(sieve(labels, smallest, connectivity=4)) if labels.size >= smallest else labels
    # Glass is no class: what was sieved into it or out of it goes back.
    calm = np.where((labels == IGNORE) | (calm == IGNORE), labels, calm).astype(np.uint8)
    found = [(shape(geometry), int(value)) for geometry, value in shapes(calm, mask=calm != IGNORE, connectivity=4)]
    if not found:
        return []
    regions = shapely.coverage_simplify(np.array([g for g, _ in found]), TOLERANCE)
    regions = shapely.transform(regions, lambda points: np.round(points * np.array(scale), 2))
    order = sorted(range(len(found)), key=lambda i: (regions[i].bounds[1], regions[i].bounds[0], found[i][1]))
    names, features = qupath_names(taxonomy), []
    for region, (_, value) in ((regions[i], found[i]) for i in order):
        tissue = taxonomy.classes[value]
        area = None if mpp is None else float(region.area) * mpp**2 / 1e6
        features.append(
            {
                "type": "Feature",
                "geometry": mapping(region),
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": names[value], "color": list(tissue.color)},
                    "isLocked": False,
                    "measurements": {} if area is None else {"Area mm^2": round(area, 6)},
                },
            }
        )
    return features


def geojson(features: list[dict[str, Any]]) -> str:
    """The features as a GeoJSON document, one per line."""
    lines = ",\n".join(json.dumps(f, separators=(",", ":")) for f in features)
    return f'{{"type":"FeatureCollection","features":[\n{lines}\n]}}\n'
