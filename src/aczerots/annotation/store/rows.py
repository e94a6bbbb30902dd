"""From table rows to records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
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
    return PickRecord(**_columns(PickRecord, row))


def round_of(row: tables.RoundRow) -> RoundRecord:
    """The round of a row."""
    return RoundRecord(**_columns(RoundRecord, row, state=RoundState(row.state)))


def draft_of(row: tables.DraftRow) -> Draft:
    """The draft of a row."""
    return Draft(**_columns(Draft, row))


def answer_of(row: tables.AnswerRow) -> Answer:
    """The answer of a row."""
    pixels = {int(k): int(v) for k, v in row.pixels.items()}
    return Answer(**_columns(Answer, row, kind=AnswerKind(row.kind), pixels=pixels))


def refused_of(row: tables.RefusedRow) -> RefusedAnswer:
    """The refused answer of a row."""
    return RefusedAnswer(**_columns(RefusedAnswer, row, kind=AnswerKind(row.kind)))


def sketch_of(row: tables.SketchRow) -> Sketch:
    """The unfinished work of a row."""
    return Sketch(**_columns(Sketch, row))


def event_of(row: tables.EventRow) -> Event:
    """The entry of a row."""
    return Event(**_columns(Event, row))


def _columns(record: type[Any], row: tables.Base, **changed: Any) -> dict[str, Any]:
    """The columns that a record names, but for the changed ones."""
    return {f.name: getattr(row, f.name) for f in fields(record)} | changed
