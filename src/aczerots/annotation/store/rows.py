"""From table rows to plain facts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aczerots.annotation.store import tables
from aczerots.annotation.store.records import (
    Answer,
    AnswerKind,
    Draft,
    Event,
    PickRecord,
    RefusedAnswer,
    RoundRecord,
    RoundState,
    Sketch,
)
from aczerots.slides.base import Box, Tile


def without_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with NaN and infinities as None: JSON has neither, and PostgreSQL refuses them."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def tile_of(row: tables.TileRow) -> Tile:
    """The tile of a row."""
    window = Box(row.window_x, row.window_y, row.window_side, row.window_side)
    return Tile(row.slide, Box(row.x, row.y, row.width, row.height), window, row.size, row.mpp)


def pick_of(row: tables.PickRow) -> PickRecord:
    """The pick of a row."""
    return PickRecord(row.round, row.rank, row.tile, row.score, dict(row.components), row.readings)


def round_of(row: tables.RoundRow) -> RoundRecord:
    """The round of a row."""
    state = RoundState(row.state)
    return RoundRecord(row.number, state, row.strategy, row.created, row.model, row.metrics, dict(row.seconds))


def draft_of(row: tables.DraftRow) -> Draft:
    """The draft of a row."""
    return Draft(row.id, row.tile, row.round, row.mask, dict(row.geometry), row.model, row.created)


def answer_of(row: tables.AnswerRow) -> Answer:
    """The answer of a row."""
    return Answer(
        id=row.id,
        tile=row.tile,
        round=row.round,
        reading=row.reading,
        author=row.author,
        created=row.created,
        tool=row.tool,
        kind=AnswerKind(row.kind),
        version=row.version,
        based_on=row.based_on,
        mask=row.mask,
        geometry=row.geometry,
        comment=row.comment,
        seconds=row.seconds,
        draft=row.draft,
        pixels={int(k): int(v) for k, v in row.pixels.items()},
        reverts_to=row.reverts_to,
        key=row.key,
    )


def refused_of(row: tables.RefusedRow) -> RefusedAnswer:
    """The refused answer of a row."""
    return RefusedAnswer(
        id=row.id,
        tile=row.tile,
        round=row.round,
        reading=row.reading,
        author=row.author,
        created=row.created,
        kind=AnswerKind(row.kind),
        based_on=row.based_on,
        newest=row.newest,
        mask=row.mask,
        geometry=row.geometry,
        comment=row.comment,
        key=row.key,
    )


def sketch_of(row: tables.SketchRow) -> Sketch:
    """The unfinished work of a row."""
    return Sketch(row.user, row.tile, row.based_on, dict(row.content), row.saved)


def event_of(row: tables.EventRow) -> Event:
    """The entry of a row."""
    return Event(row.id, row.time, row.user, row.what, dict(row.about))
