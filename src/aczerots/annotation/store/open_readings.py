"""Which readings of a round are open. Answering removes a row of the table, withdrawing the answer brings it back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, delete, exists, func, insert, select
from sqlalchemy.orm import Session, aliased

from aczerots.annotation.store.records import AnswerKind, PickRecord
from aczerots.annotation.store.tables import AnswerRow, LeaseRow, OpenReadingRow, PickRow, RoundRow, TileRow, table


def open_readings(session: Session, number: int, picks: Iterable[PickRecord]) -> None:
    """Open all readings of the tiles of a new round."""
    rows = [{"round": number, "reading": r, "rank": p.rank, "tile": p.tile} for p in picks for r in range(p.readings)]
    if rows:
        session.execute(insert(OpenReadingRow), rows)


def close_readings(session: Session, answered: Iterable[tuple[int, int, int]]) -> None:
    """Close what was answered, as (round, tile, reading); tiles that the round did not ask for are passed over."""
    values = [{"number": number, "at": tile, "by": reading} for number, tile, reading in answered]
    if values:
        session.connection().execute(_CLOSE, values)


def reopen_reading(session: Session, number: int, tile: int, reading: int) -> None:
    """Open a reading again after its answer was withdrawn."""
    pick = session.scalars(select(PickRow).where(PickRow.round == number, PickRow.tile == tile)).first()
    if pick is not None and reading < pick.readings:
        session.merge(OpenReadingRow(round=number, reading=reading, rank=pick.rank, tile=tile))


def reading_to_lease(
    session: Session, number: int, user: str, now: datetime, slide: str | None = None
) -> tuple[int, int] | None:
    """The (tile, reading) that a user gets next, on a slide if one is named.

    What the user has leased already comes first, then first readings by rank. Nobody gets both readings of a tile.
    """
    values = {"number": number, "user": user, "now": now, **({} if slide is None else {"slide": slide})}
    for query in (_LEASED, _FREE):
        row = session.execute(query[slide is not None], values).first()
        if row is not None:
            return row[0], row[1]
    return None


def count_open(session: Session) -> int:
    """Readings of the newest round that nobody has answered."""
    return session.scalar(_COUNT) or 0


def _leased() -> Select[int, int]:
    here, lease = OpenReadingRow, LeaseRow
    same = (here.round == lease.round) & (here.tile == lease.tile) & (here.reading == lease.reading)
    query = select(here.tile, here.reading).join(lease, same).order_by(lease.tile).limit(1)
    return query.where(
        lease.round == bindparam("number"), lease.user == bindparam("user"), lease.expires > bindparam("now")
    )


def _free() -> Select[int, int]:
    here, lease, said, newer = OpenReadingRow, aliased(LeaseRow), aliased(AnswerRow), aliased(AnswerRow)
    leased = exists().where(lease.round == here.round, lease.tile == here.tile, lease.expires > bindparam("now"))
    later = exists().where(
        newer.tile == said.tile, newer.reading == said.reading, newer.round == said.round, newer.version > said.version
    )
    drawn = exists().where(
        said.tile == here.tile,
        # "+ 0" keeps SQLite from its index on rounds, in which it would go through all answers for every tile.
        said.round + 0 == here.round,
        said.reading != here.reading,
        said.author == bindparam("user"),
        said.kind != AnswerKind.WITHDRAWN,
        ~later,
    )
    query = select(here.tile, here.reading).order_by(here.reading, here.rank).limit(1)
    return query.where(
        here.round == bindparam("number"),
        ~leased.where(lease.reading == here.reading),
        ~leased.where(lease.reading != here.reading, lease.user == bindparam("user")),
        ~drawn,
    )


def _anywhere_and_on_slide(query: Select[int, int]) -> tuple[Select[int, int], Select[int, int]]:
    on_slide = query.join(TileRow, TileRow.position == OpenReadingRow.tile).where(TileRow.slide == bindparam("slide"))
    return query, on_slide


# These run with every request; building them is slow, so they are built once.
_LEASED = _anywhere_and_on_slide(_leased())
_FREE = _anywhere_and_on_slide(_free())
_COUNT = select(func.count()).where(OpenReadingRow.round == select(func.max(RoundRow.number)).scalar_subquery())
_OPEN: Any = table(OpenReadingRow).c
_CLOSE = delete(table(OpenReadingRow)).where(
    _OPEN.round == bindparam("number"), _OPEN.tile == bindparam("at"), _OPEN.reading == bindparam("by")
)
