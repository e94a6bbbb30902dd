"""GeoJSON for QuPath: the tiles of a round as locked frames, what is drawn or drafted in them as annotations.

Keys are those of QuPath's own export (``objectType``, ``classification``, ``isLocked``, ``measurements``,
``metadata``), coordinates level-0 pixels.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from aczerots.annotation.formats.masks import decode_mask, only_seen
from aczerots.annotation.formats.qupath_classes import qupath_names
from aczerots.annotation.formats.raster import vectorise
from aczerots.annotation.store.records import Answer, AnswerKind, PickRecord
from aczerots.project.folder import Project
from aczerots.slides.base import Tile
from aczerots.storage.files import write_text_atomic

_NAMESPACE = uuid.UUID("5b8bd1ee-59ea-5f0b-9c25-cb0c0b0f3c6a")
"""Of the ids of exported objects."""


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
    """The frame of a tile, and what is drawn in it, else the draft."""
    answer = project.store.answers.newest(pick.tile)
    yield _frame(pick, tile, answer)
    draft = project.store.rounds.draft(pick.tile)
    if answer is not None and answer.kind not in {AnswerKind.SKIPPED, AnswerKind.WITHDRAWN}:
        data, origin = answer.mask, f"answer {answer.id}"
    else:
        data, origin = (None, "") if draft is None else (draft.mask, f"draft {draft.id}")
    if data is None:
        return
    for i, (label, polygon) in enumerate(vectorise(only_seen(decode_mask(data), project.taxonomy), tile.window)):
        rings = [ring.coords for ring in (polygon.exterior, *polygon.interiors)]
        color = list(project.taxonomy.classes[label].color)
        classification = {"name": qupath_names(project.taxonomy)[label], "color": color}
        yield _annotation(f"{tile.id} {origin} {i}", rings, classification=classification, isLocked=False)


def _frame(pick: PickRecord, tile: Tile, answer: Answer | None) -> dict[str, Any]:
    """The box of a tile as a locked annotation that tells why it was chosen and what was known of it."""
    b = tile.box
    right, bottom = b.x + b.width, b.y + b.height
    ring = [(b.x, b.y), (right, b.y), (right, bottom), (b.x, bottom), (b.x, b.y)]
    scores = {"score": pick.score, **pick.components}
    metadata = {
        "aczerots tile": tile.id,
        "version": str(0 if answer is None else answer.version),
        "answer": "none" if answer is None else str(answer.kind),
    }
    return _annotation(
        f"{tile.id} round {pick.round}",
        [ring],
        name=f"round {pick.round}, tile {pick.rank}",
        isLocked=True,
        measurements={k: v for k, v in scores.items() if v is not None and math.isfinite(v)},
        metadata=metadata,
    )


def _annotation(identity: str, rings: Sequence[Iterable[tuple[float, float]]], **properties: Any) -> dict[str, Any]:
    """A polygon, outline first, as an annotation of QuPath. The same identity gives the same id in every export."""
    # Whole numbers, as on most slides, are written as such: files are smaller.
    rounded = [[[int(v) if float(v).is_integer() else v for v in point] for point in ring] for ring in rings]
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, identity)),
        "geometry": {"type": "Polygon", "coordinates": rounded},
        "properties": {"objectType": "annotation", **properties},
    }
