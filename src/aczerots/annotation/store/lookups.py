"""What is looked up with every request. Building a statement is slow, so each is built once."""

from __future__ import annotations

from sqlalchemy import BindParameter, bindparam, func, select
from sqlalchemy.orm import Session

from aczerots.annotation.store.records import RoundState
from aczerots.annotation.store.tables import AnswerRow, DraftRow, EventRow, PickRow, RoundRow, SketchRow, TileRow


def newest_answer(session: Session, tile: int, reading: int) -> AnswerRow | None:
    """The newest answer of a reading of a tile."""
    return session.scalars(_ANSWER, {"at": tile, "by": reading}).first()


def newest_draft(session: Session, tile: int) -> DraftRow | None:
    """The newest draft of a tile."""
    return session.scalars(_DRAFT, {"at": tile}).first()


def newest_round(session: Session) -> RoundRow | None:
    """The last round."""
    return session.scalars(_ROUND).first()


def last_number(session: Session) -> int | None:
    """Number of the last round, None before the first."""
    return session.scalar(_LAST)


def open_round(session: Session) -> int | None:
    """Number of the round that is being annotated. It is locked, so that one lease at a time is chosen from it."""
    return session.scalar(_OPEN_ROUND)


def pick_and_tile(session: Session, number: int, tile: int) -> tuple[PickRow, TileRow]:
    """A chosen tile of a round."""
    pick, place = session.execute(_PICK, {"number": number, "at": tile}).one()
    return pick, place


def sketch_by(session: Session, user: str, tile: int) -> SketchRow | None:
    """Unfinished work of a user on a tile."""
    return session.scalars(_SKETCH, {"who": user, "at": tile}).first()


def comments_on(session: Session, tile: int) -> list[EventRow]:
    """What was said about a tile, oldest first."""
    return list(session.scalars(_COMMENTS, {"at": tile}))


_TILE: BindParameter[int] = bindparam("at")
_ROUND = select(RoundRow).order_by(RoundRow.number.desc()).limit(1)
_ANSWER = (
    select(AnswerRow)
    .where(AnswerRow.tile == _TILE, AnswerRow.reading == bindparam("by"))
    .order_by(AnswerRow.version.desc())
    .limit(1)
)
_DRAFT = select(DraftRow).where(DraftRow.tile == _TILE).order_by(DraftRow.id.desc()).limit(1)
_LAST = select(func.max(RoundRow.number))
_OPEN_ROUND = (
    _ROUND.with_only_columns(RoundRow.number)
    .where(RoundRow.state.in_([RoundState.PROPOSED, RoundState.ANNOTATING]))
    .with_for_update()
)
_PICK = (
    select(PickRow, TileRow)
    .join(TileRow, TileRow.position == PickRow.tile)
    .where(PickRow.round == bindparam("number"), PickRow.tile == _TILE)
)
_SKETCH = select(SketchRow).where(SketchRow.user == bindparam("who"), SketchRow.tile == _TILE)
_COMMENTS = (
    select(EventRow)
    .where(EventRow.what == "comment", EventRow.about["tile"].as_integer() == _TILE)
    .order_by(EventRow.id)
)
