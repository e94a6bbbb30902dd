"""GeoJSON for QuPath: the tiles of a round as locked frames, what is drawn or drafted in them as annotations.

Keys are those of QuPath's own export (``objectType``, ``classification``, ``isLocked``, ``measurements``,
``metadata``), coordinates level-0 pixels.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aczerots.annotation.formats.masks import decode_mask
from aczerots.annotation.formats.qupath_classes import qupath_name
from aczerots.annotation.formats.raster import vectorise
from aczerots.annotation.store.records import Answer, AnswerKind, PickRecord
from aczerots.project.folder import Project
from aczerots.slides.base import Tile
from aczerots.storage.files import write_text_atomic
from aczerots.taxonomy import IGNORE

_OURS = uuid.UUID("5b8bd1ee-59ea-5f0b-9c25-cb0c0b0f3c6a")
"""Namespace of the ids, so that the same object has the same id in every export."""


def export_qupath(project: Project, out: Path, number: int) -> list[Path]:
    """Write a file per slide with tiles in a round.

    Args:
        project: The project.
        out: Folder for ``<slide>.geojson``.
        number: The round.

    Returns:
        The files.

    Raises:
        StorageError: A file cannot be written.
    """
    tiles = project.store.rounds.tiles()
    by_slide: dict[str, list[dict[str, Any]]] = {}
    for pick in project.store.rounds.picks(number):
        tile = tiles[pick.tile]
        by_slide.setdefault(tile.slide, []).extend(_features(project, pick, tile))
    written = []
    for slide, features in by_slide.items():
        path = out / f"{slide}.geojson"
        content = json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False)
        write_text_atomic(path, content + "\n")
        written.append(path)
    return written


def _features(project: Project, pick: PickRecord, tile: Tile) -> Iterator[dict[str, Any]]:
    answer = project.store.answers.newest(pick.tile)
    yield _frame(pick, tile, answer)
    draft = project.store.rounds.draft(pick.tile)
    if answer is not None and answer.kind not in {AnswerKind.SKIPPED, AnswerKind.WITHDRAWN}:
        data, origin = answer.mask, f"answer {answer.id}"
    else:
        data, origin = (None, "") if draft is None else (draft.mask, f"draft {draft.id}")
    if data is None:
        return
    mask = decode_mask(data)
    mask = np.where(np.isin(mask, project.taxonomy.seen_ids), mask, np.uint8(IGNORE))
    for i, (label, polygon) in enumerate(vectorise(mask, tile.window)):
        tissue = project.taxonomy.classes[label]
        yield {
            "type": "Feature",
            "id": _id(f"{tile.id} {origin} {i}"),
            "geometry": _geometry(polygon),
            "properties": {
                "objectType": "annotation",
                "classification": {"name": qupath_name(tissue.name), "color": list(tissue.color)},
                "isLocked": False,
            },
        }


def _frame(pick: PickRecord, tile: Tile, answer: Answer | None) -> dict[str, Any]:
    b = tile.box
    left, top, right, bottom = b.x, b.y, b.x + b.width, b.y + b.height
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    scores: Mapping[str, float | None] = {"score": pick.score, **pick.components}
    return {
        "type": "Feature",
        "id": _id(f"{tile.id} round {pick.round}"),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "annotation",
            "name": f"round {pick.round}, tile {pick.rank}",
            "isLocked": True,
            "measurements": {k: v for k, v in scores.items() if v is not None and math.isfinite(v)},
            "metadata": {
                "aczerots tile": tile.id,
                "version": str(0 if answer is None else answer.version),
                "answer": "none" if answer is None else str(answer.kind),
            },
        },
    }


def _geometry(polygon: Any) -> dict[str, Any]:
    """Whole numbers are written as such: files are smaller, and so they are on most slides."""
    rings = [polygon.exterior, *polygon.interiors]
    rounded = [[[_number(x), _number(y)] for x, y in ring.coords] for ring in rings]
    return {"type": "Polygon", "coordinates": rounded}


def _number(value: float) -> float:
    return int(value) if value.is_integer() else value


def _id(text: str) -> str:
    return str(uuid.uuid5(_OURS, text))
