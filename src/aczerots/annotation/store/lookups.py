"""What is looked up with every request. Statements are slow to put together: each is made once."""

from __future__ import annotations

from functools import cache

from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.orm import Session

from aczerots.annotation.store.records import RoundState
from aczerots.annotation.store.tables import AnswerRow, DraftRow, EventRow, PickRow, RoundRow, SketchRow, TileRow

_OPEN = (RoundState.PROPOSED, RoundState.ANNOTATING)


def newest_answer(session: Session, tile: int, reading: int) -> AnswerRow | None:
    """The newest answer of a reading of a tile."""
    return session.scalars(_answer(), {"at": tile, "by": reading}).first()


def newest_draft(session: Session, tile: int) -> DraftRow | None:
    """The newest draft of a tile."""
    return session.scalars(_draft(), {"at": tile}).first()


def newest_round(session: Session) -> RoundRow | None:
    """The last round."""
    return session.scalars(_round()).first()


@cache
def last_number() -> Select[int]:
    """Statement for the number of the last round; none before the first."""
    return select(func.max(RoundRow.number))


def open_round(session: Session) -> int | None:
    """Number of the round that is being annotated, locked: one lease at a time is chosen from it."""
    return session.scalar(_open())


def pick_and_tile(session: Session, number: int, tile: int) -> tuple[PickRow, TileRow]:
    """A chosen tile of a round."""
    pick, place = session.execute(_pick(), {"number": number, "at": tile}).one()
    return pick, place


def sketch_by(session: Session, user: str, tile: int) -> SketchRow | None:
    """Unfinished work of a user on a tile."""
    return session.scalars(_sketch(), {"who": user, "at": tile}).first()


def comments_on(session: Session, tile: int) -> list[EventRow]:
    """What was said about a tile, oldest first."""
    return list(session.scalars(_comments(), {"at": tile}))


@cache
def _answer() -> Select[AnswerRow]:
    query = select(AnswerRow).where(AnswerRow.tile == bindparam("at"), AnswerRow.reading == bindparam("by"))
    return query.order_by(AnswerRow.version.desc()).limit(1)


@cache
def _draft() -> Select[DraftRow]:
    return select(DraftRow).where(DraftRow.tile == bindparam("at")).order_by(DraftRow.id.desc()).limit(1)


@cache
def _round() -> Select[RoundRow]:
    return select(RoundRow).order_by(RoundRow.number.desc()).limit(1)


@cache
def _open() -> Select[int]:
    query = select(RoundRow.number).where(RoundRow.state.in_(_OPEN))
    return query.order_by(RoundRow.number.desc()).limit(1).with_for_update()


@cache
def _pick() -> Select[PickRow, TileRow]:
    query = select(PickRow, TileRow).join(TileRow, TileRow.position == PickRow.tile)
    return query.where(PickRow.round == bindparam("number"), PickRow.tile == bindparam("at"))


@cache
def _sketch() -> Select[SketchRow]:
    return select(SketchRow).where(SketchRow.user == bindparam("who"), SketchRow.tile == bindparam("at"))


@cache
def _comments() -> Select[EventRow]:
    at = EventRow.about["tile"].as_integer() == bindparam("at")
    return select(EventRow).where(EventRow.what == "comment", at).order_by(EventRow.id)
