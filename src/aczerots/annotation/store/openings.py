"""Which readings of a round are open. Their rows go with the answer and come back when it is withdrawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Delete, Select, bindparam, delete, exists, func, insert, select
from sqlalchemy.orm import Session, aliased

from aczerots.annotation.store.records import AnswerKind, PickRecord
from aczerots.annotation.store.tables import AnswerRow, LeaseRow, OpeningRow, PickRow, RoundRow, TileRow, table


def open_readings(session: Session, number: int, picks: Iterable[PickRecord]) -> None:
    """Open all readings of the tiles of a new round."""
    rows = [{"round": number, "reading": r, "rank": p.rank, "tile": p.tile} for p in picks for r in range(p.readings)]
    if rows:
        session.execute(insert(OpeningRow), rows)


def close_readings(session: Session, answered: Iterable[tuple[int, int, int]]) -> None:
    """Somebody has answered (round, tile, reading); tiles that the round did not ask for are passed over."""
    values = [{"number": number, "at": tile, "by": reading} for number, tile, reading in answered]
    if values:
        session.connection().execute(_closing(), values)


def reopen_reading(session: Session, number: int, tile: int, reading: int) -> None:
    """The answer was withdrawn."""
    pick = session.scalars(select(PickRow).where(PickRow.round == number, PickRow.tile == tile)).first()
    if pick is not None and reading < pick.readings:
        session.merge(OpeningRow(round=number, reading=reading, rank=pick.rank, tile=tile))


def next_opening(
    session: Session, number: int, user: str, now: datetime, slide: str | None = None
) -> tuple[int, int] | None:
    """(tile, reading) to lend, on a slide if one is named, first readings first, by rank; nobody gets both readings."""
    return _first(session, _next, number, user, now, slide)


def held_opening(
    session: Session, number: int, user: str, now: datetime, slide: str | None = None
) -> tuple[int, int] | None:
    """(tile, reading) that the user has and nobody has answered, on a slide if one is named."""
    return _first(session, _held, number, user, now, slide)


def count_open(session: Session) -> int:
    """Readings of the newest round that nobody has answered."""
    return session.scalar(_count()) or 0


def _first(
    session: Session,
    query: Callable[[bool], Select[int, int]],
    number: int,
    user: str,
    now: datetime,
    slide: str | None,
) -> tuple[int, int] | None:
    """(tile, reading) that a query finds first."""
    values: dict[str, Any] = {"number": number, "user": user, "now": now}
    if slide is not None:
        values["slide"] = slide
    row = session.execute(query(slide is not None), values).first()
    return None if row is None else (row[0], row[1])


# Asked for with every tile, and slow to put together: made once, given their values when they are asked.
@cache
def _closing() -> Delete:
    openings = table(OpeningRow)
    at = openings.c
    place = at.round == bindparam("number"), at.tile == bindparam("at"), at.reading == bindparam("by")
    return delete(openings).where(*place)


@cache
def _next(on_slide: bool) -> Select[int, int]:
    lent, other = aliased(LeaseRow), aliased(LeaseRow)
    same = lent.round == OpeningRow.round, lent.tile == OpeningRow.tile, lent.expires > bindparam("now")
    mine = other.round == OpeningRow.round, other.tile == OpeningRow.tile, other.expires > bindparam("now")
    said, newer = aliased(AnswerRow), aliased(AnswerRow)
    later = exists().where(
        newer.tile == said.tile, newer.reading == said.reading, newer.round == said.round, newer.version > said.version
    )
    drawn = exists().where(
        said.tile == OpeningRow.tile,
        # "+ 0" keeps SQLite from its index on rounds, in which it would go through all answers for every tile.
        said.round + 0 == OpeningRow.round,
        said.reading != OpeningRow.reading,
        said.author == bindparam("user"),
        said.kind != AnswerKind.WITHDRAWN,
        ~later,
    )
    query = select(OpeningRow.tile, OpeningRow.reading).where(
        OpeningRow.round == bindparam("number"),
        ~exists().where(*same, lent.reading == OpeningRow.reading),
        ~exists().where(*mine, other.reading != OpeningRow.reading, other.user == bindparam("user")),
        ~drawn,
    )
    return _on_slide(query, on_slide).order_by(OpeningRow.reading, OpeningRow.rank).limit(1)


@cache
def _held(on_slide: bool) -> Select[int, int]:
    same = OpeningRow.round == LeaseRow.round, OpeningRow.tile == LeaseRow.tile, OpeningRow.reading == LeaseRow.reading
    query = select(OpeningRow.tile, OpeningRow.reading).join(LeaseRow, same[0] & same[1] & same[2])
    query = query.where(
        LeaseRow.round == bindparam("number"), LeaseRow.user == bindparam("user"), LeaseRow.expires > bindparam("now")
    )
    return _on_slide(query, on_slide).order_by(LeaseRow.tile).limit(1)


def _on_slide(query: Select[int, int], on_slide: bool) -> Select[int, int]:
    if not on_slide:
        return query
    return query.join(TileRow, TileRow.position == OpeningRow.tile).where(TileRow.slide == bindparam("slide"))


@cache
def _count() -> Select[int]:
    newest = select(func.max(RoundRow.number)).scalar_subquery()
    return select(func.count()).select_from(OpeningRow).where(OpeningRow.round == newest)
