"""The model's proposal for a tile, as mask and as GeoJSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.raster import vectorise
from aczerots.slides.base import Tile
from aczerots.taxonomy import IGNORE, Taxonomy


def draft_mask(tile: Tile, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Label ids uint8 [size, size] in the frame of the tile's window; IGNORE outside its box.

    Args:
        tile: The tile.
        probabilities: Float32 [C, rows, columns] inside the box.
    """
    mask = np.full((tile.size, tile.size), IGNORE, dtype=np.uint8)
    mask[tile.inner] = probabilities.argmax(axis=0)
    return mask


def draft_geometry(mask: NDArray[np.uint8], tile: Tile, taxonomy: Taxonomy) -> dict[str, Any]:
    """A FeatureCollection in level-0 pixels: a multipolygon per class, with its name, colour and label id."""
    from shapely.geometry import MultiPolygon, mapping

    regions = vectorise(mask, tile.window)
    features = []
    for label, tissue in enumerate(taxonomy.classes):
        parts = [polygon for found, polygon in regions if found == label]
        if parts:
            properties = {"label": label, "classification": {"name": tissue.name, "color": list(tissue.color)}}
            geometry = mapping(MultiPolygon(parts))
            features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return {"type": "FeatureCollection", "features": features}
