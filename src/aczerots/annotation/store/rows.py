"""From table rows to records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from aczerots.annotation.store import tables
from aczerots.annotation.store.records import Answer, AnswerKind, RoundRecord, RoundState
from aczerots.slides.base import Box, Tile

AnyRecord = TypeVar("AnyRecord")


def without_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with NaN and infinities as None: JSON has neither, and PostgreSQL refuses them."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def tile_of(row: tables.TileRow) -> Tile:
    """The tile of a row."""
    window = Box(row.window_x, row.window_y, row.window_side, row.window_side)
    return Tile(row.slide, Box(row.x, row.y, row.width, row.height), window, row.size, row.mpp)


def record_of(record: type[AnyRecord], row: tables.Base, **changed: Any) -> AnyRecord:
    """The record (a dataclass) of a row: its fields are columns of the same name, but for the changed ones."""
    columns = {f.name: getattr(row, f.name) for f in fields(record)}  # type: ignore[arg-type]  # a dataclass
    return record(**(columns | changed))


def round_of(row: tables.RoundRow) -> RoundRecord:
    """The round of a row."""
    return record_of(RoundRecord, row, state=RoundState(row.state))


def answer_of(row: tables.AnswerRow) -> Answer:
    """The answer of a row."""
    pixels = {int(k): int(v) for k, v in row.pixels.items()}
    return record_of(Answer, row, kind=AnswerKind(row.kind), pixels=pixels)
