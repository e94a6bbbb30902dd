"""The newest round as its annotators see it: one line per tile and reading. Masks stay where they are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from aczerots.annotation.store.database import Database, now_utc
from aczerots.annotation.store.records import AnswerKind
from aczerots.annotation.store.tables import AnswerRow, LeaseRow, PickRow


@dataclass(frozen=True)
class RoundStatusLine:
    """One reading of one tile of a round.

    Attributes:
        tile: Position in the pool.
        rank: Its place in the selection.
        reading: 0, or 1 for the second of two independent readings.
        kind: Newest answer given in this round, None where it is open.
        author: Who gave it, or who has the tile now.
        leased: Whether it is lent at the moment.
        seconds: What all answers for it took.
    """

    tile: int
    rank: int
    reading: int
    kind: AnswerKind | None
    author: str | None
    leased: bool
    seconds: float


def read_round_status(database: Database, number: int, now: datetime | None = None) -> list[RoundStatusLine]:
    """The lines of a round by reading and rank.

    Args:
        database: Of the project.
        number: The round.
        now: The moment that leases are judged by, UTC; None takes the clock's.
    """
    with database.reading() as s:
        picks = select(PickRow.tile, PickRow.rank, PickRow.readings).where(PickRow.round == number)
        rows = list(s.execute(picks.order_by(PickRow.rank)))
        answers, leases = _answers(s, number), _loans(s, number, now or now_utc())
    lines = []
    for reading in range(max((r[2] for r in rows), default=0)):
        for tile, rank, readings in rows:
            if reading < readings:
                lines.append(_line(tile, rank, reading, answers, leases))
    return lines


_Place = tuple[int, int]
_Said = tuple[AnswerKind | None, str | None, float]


def _line(
    tile: int, rank: int, reading: int, answers: dict[_Place, _Said], leases: dict[_Place, str]
) -> RoundStatusLine:
    kind, author, seconds = answers.get((tile, reading), (None, None, 0.0))
    holder = leases.get((tile, reading))
    open_to = holder if kind is None else author
    return RoundStatusLine(tile, rank, reading, kind, open_to, holder is not None, seconds)


def _answers(session: Session, number: int) -> dict[_Place, _Said]:
    """(kind, author, seconds of all) by tile and reading; a withdrawn answer leaves the tile open."""
    columns = select(AnswerRow.tile, AnswerRow.reading, AnswerRow.kind, AnswerRow.author, AnswerRow.seconds)
    found: dict[_Place, _Said] = {}
    query = columns.where(AnswerRow.round == number).order_by(AnswerRow.version)
    for tile, reading, kind, author, spent in session.execute(query):
        seconds = found.get((tile, reading), (None, None, 0.0))[2] + spent
        gone = kind == AnswerKind.WITHDRAWN
        found[tile, reading] = (None, None, seconds) if gone else (AnswerKind(kind), author, seconds)
    return found


def _loans(session: Session, number: int, now: datetime) -> dict[_Place, str]:
    query = select(LeaseRow.tile, LeaseRow.reading, LeaseRow.user)
    query = query.where(LeaseRow.round == number, LeaseRow.expires > now)
    return {(tile, reading): user for tile, reading, user in session.execute(query)}
