"""Where the project stands, per round and per class."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from aczerots.annotation.store.database import Database, now_utc
from aczerots.annotation.store.records import (
    AnswerKind,
    ClassProgress,
    Progress,
    RoundProgress,
    RoundState,
)
from aczerots.annotation.store.tables import AnswerRow, LeaseRow, PickRow, RefusedRow, RoundRow, TileRow


def progress(database: Database, now: datetime | None = None) -> Progress:
    """Counts over the newest answers, in one view of the database.

    Args:
        database: Of the project.
        now: The moment that leases are judged by, UTC; None takes the clock's.
    """
    now = now or now_utc()
    with database.reading() as s:
        tiles = s.scalar(select(func.count()).select_from(TileRow)) or 0
        rounds = tuple(_round(s, row, now) for row in s.scalars(select(RoundRow).order_by(RoundRow.number)))
        refused = s.scalar(select(func.count()).select_from(RefusedRow)) or 0
        return Progress(tiles, rounds, _classes(s), refused)


def _round(session: Session, row: RoundRow, now: datetime) -> RoundProgress:
    asked = session.scalar(select(func.sum(PickRow.readings)).where(PickRow.round == row.number)) or 0
    leases = select(func.count()).select_from(LeaseRow).where(LeaseRow.round == row.number, LeaseRow.expires > now)
    columns = select(AnswerRow.tile, AnswerRow.reading, AnswerRow.kind, AnswerRow.seconds)
    picked = set(session.scalars(select(PickRow.tile).where(PickRow.round == row.number)))
    newest: dict[tuple[int, int], str] = {}
    seconds = 0.0
    for tile, reading, kind, spent in session.execute(
        columns.where(AnswerRow.round == row.number).order_by(AnswerRow.version)
    ):
        seconds += spent
        if tile in picked:
            newest[tile, reading] = kind
    kinds = Counter(AnswerKind(k) for k in newest.values() if k != AnswerKind.WITHDRAWN)
    return RoundProgress(
        number=row.number,
        state=RoundState(row.state),
        asked=int(asked),
        answered=sum(kinds.values()),
        leased=session.scalar(leases) or 0,
        kinds=dict(kinds),
        seconds=seconds,
    )


def _classes(session: Session) -> tuple[ClassProgress, ...]:
    query = select(AnswerRow.tile, AnswerRow.pixels).where(AnswerRow.reading == 0).order_by(AnswerRow.version)
    newest: dict[int, dict[str, Any]] = {row[0]: row[1] for row in session.execute(query)}
    tiles: Counter[int] = Counter()
    pixels: Counter[int] = Counter()
    for counts in newest.values():
        for label, number in counts.items():
            tiles[int(label)] += 1
            pixels[int(label)] += int(number)
    return tuple(ClassProgress(label, tiles[label], pixels[label]) for label in sorted(pixels))
