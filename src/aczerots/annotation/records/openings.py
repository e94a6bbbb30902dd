"""Which readings of a round are open, asked in the database: rounds may have thousands of tiles."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from aczerots.annotation.records.facts import AnswerKind
from aczerots.annotation.records.tables import AnswerRow, LeaseRow, PickRow, TileRow

_NUMBER: BindParameter[int] = bindparam("number")
_READING: BindParameter[int] = bindparam("reading")
_USER: BindParameter[str] = bindparam("user")
_NOW: BindParameter[datetime] = bindparam("now")
_SLIDE: BindParameter[str] = bindparam("slide")
_TILE: BindParameter[int] = bindparam("tile")


def _said(reading: ColumnElement[bool], *more: ColumnElement[bool]) -> ColumnElement[bool]:
    """Condition on a pick: the newest answer in its round of such a reading is there and not withdrawn."""
    newer = aliased(AnswerRow)
    later = exists().where(
        newer.tile == AnswerRow.tile,
        newer.reading == AnswerRow.reading,
        newer.round == AnswerRow.round,
        newer.version > AnswerRow.version,
    )
    return exists().where(
        AnswerRow.tile == PickRow.tile,
        # "+ 0" keeps SQLite from its index on rounds, in which it would go through all answers for every tile.
        AnswerRow.round + 0 == PickRow.round,
        reading,
        AnswerRow.kind != AnswerKind.WITHDRAWN,
        ~later,
        *more,
    )


def _lent(*more: ColumnElement[bool]) -> ColumnElement[bool]:
    """Condition on a pick: it is lent at the moment."""
    return exists().where(
        LeaseRow.round == PickRow.round, LeaseRow.tile == PickRow.tile, LeaseRow.expires > _NOW, *more
    )


# Asked for with every tile, and slow to put together: made once, given their values when they are asked.
@cache
def _opening_query(on_slide: bool) -> Select[Any]:
    other_drawn = _said(AnswerRow.reading != _READING, AnswerRow.author == _USER)
    other_lent = _lent(LeaseRow.reading != _READING, LeaseRow.user == _USER)
    query = select(PickRow.tile).where(
        PickRow.round == _NUMBER,
        PickRow.readings > _READING,
        ~_said(AnswerRow.reading == _READING),
        ~_lent(LeaseRow.reading == _READING),
        or_(PickRow.readings == 1, ~or_(other_drawn, other_lent)),
    )
    if on_slide:
        query = query.join(TileRow, TileRow.position == PickRow.tile).where(TileRow.slide == _SLIDE)
    return query.order_by(PickRow.rank).limit(1)


@cache
def _count_query() -> Select[Any]:
    count = select(func.count()).select_from(PickRow).where(PickRow.round == _NUMBER)
    return count.where(PickRow.readings > _READING, ~_said(AnswerRow.reading == _READING))


@cache
def _tile_query() -> Select[Any]:
    query = select(PickRow.tile).where(PickRow.round == _NUMBER, PickRow.tile == _TILE)
    return query.where(~_said(AnswerRow.reading == _READING))


def next_opening(
    session: Session, number: int, user: str, now: datetime, slide: str | None = None
) -> tuple[int, int] | None:
    """(tile, reading) to lend, on a slide if one is named, first readings first, by rank; nobody gets both readings."""
    for reading in range(_readings(session, number)):
        values: dict[str, Any] = {"number": number, "reading": reading, "user": user, "now": now}
        if slide is not None:
            values["slide"] = slide
        tile = session.scalar(_opening_query(slide is not None), values)
        if tile is not None:
            return tile, reading
    return None


def is_open(session: Session, number: int, tile: int, reading: int) -> bool:
    """Whether nobody has answered this reading of a tile in a round."""
    values = {"number": number, "tile": tile, "reading": reading}
    return session.scalar(_tile_query(), values) is not None


def count_open(session: Session, number: int) -> int:
    """Readings of a round that nobody has answered."""
    return sum(
        session.scalar(_count_query(), {"number": number, "reading": r}) or 0 for r in range(_readings(session, number))
    )


def _readings(session: Session, number: int) -> int:
    """Most readings of any tile of a round."""
    return session.scalar(select(func.max(PickRow.readings)).where(PickRow.round == number)) or 0
