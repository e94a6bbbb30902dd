"""Which readings of a round are open, asked in the database: rounds may have thousands of tiles."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from aczerots.annotation.records.facts import AnswerKind
from aczerots.annotation.records.tables import AnswerRow, LeaseRow, PickRow, TileRow


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


def _lent(now: datetime, *more: ColumnElement[bool]) -> ColumnElement[bool]:
    """Condition on a pick: it is lent at the moment."""
    return exists().where(LeaseRow.round == PickRow.round, LeaseRow.tile == PickRow.tile, LeaseRow.expires > now, *more)


def next_opening(
    session: Session, number: int, user: str, now: datetime, slide: str | None = None
) -> tuple[int, int] | None:
    """(tile, reading) to lend, on a slide if one is named, first readings first, by rank; nobody gets both readings."""
    for reading in range(_readings(session, number)):
        other_drawn = _said(AnswerRow.reading != reading, AnswerRow.author == user)
        other_lent = _lent(now, LeaseRow.reading != reading, LeaseRow.user == user)
        query = select(PickRow.tile).where(
            PickRow.round == number,
            PickRow.readings > reading,
            ~_said(AnswerRow.reading == reading),
            ~_lent(now, LeaseRow.reading == reading),
            or_(PickRow.readings == 1, ~or_(other_drawn, other_lent)),
        )
        if slide is not None:
            query = query.join(TileRow, TileRow.position == PickRow.tile).where(TileRow.slide == slide)
        tile = session.scalar(query.order_by(PickRow.rank).limit(1))
        if tile is not None:
            return tile, reading
    return None


def is_open(session: Session, number: int, tile: int, reading: int) -> bool:
    """Whether nobody has answered this reading of a tile in a round."""
    query = select(PickRow.tile).where(PickRow.round == number, PickRow.tile == tile)
    return session.scalar(query.where(~_said(AnswerRow.reading == reading))) is not None


def count_open(session: Session, number: int) -> int:
    """Readings of a round that nobody has answered."""
    count = select(func.count()).select_from(PickRow).where(PickRow.round == number)
    open_ = [
        session.scalar(count.where(PickRow.readings > r, ~_said(AnswerRow.reading == r))) or 0
        for r in range(_readings(session, number))
    ]
    return sum(open_)


def _readings(session: Session, number: int) -> int:
    """Most readings of any tile of a round."""
    return session.scalar(select(func.max(PickRow.readings)).where(PickRow.round == number)) or 0
