"""How far the project is, per round and class, and how far the readings of one round are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from aczerots.annotation.store.database import Database, now_utc
from aczerots.annotation.store.records import AnswerKind, RoundState
from aczerots.annotation.store.tables import AnswerRow, LeaseRow, PickRow, RefusedRow, RoundRow, SlideRow, TileRow


@dataclass(frozen=True)
class RoundProgress:
    """How far a round is.

    Attributes:
        number: The round.
        state: Its state.
        asked: Answers wanted (tiles, second readings counted too).
        answered: Answers there are.
        leased: Tiles leased at the moment.
        kinds: Answers per kind.
        seconds: Time spent by all annotators.
    """

    number: int
    state: RoundState
    asked: int
    answered: int
    leased: int
    kinds: Mapping[AnswerKind, int]
    seconds: float

    @property
    def left(self) -> int:
        """Answers still wanted."""
        return self.asked - self.answered


@dataclass(frozen=True)
class ClassProgress:
    """What is drawn of a class, newest answers of the first reading only.

    Attributes:
        label: Label id.
        tiles: Tiles with at least one pixel of it.
        pixels: Pixels, in the frames of the tiles.
    """

    label: int
    tiles: int
    pixels: int


@dataclass(frozen=True)
class Progress:
    """Where the project stands.

    Attributes:
        tiles: Tiles in the pool.
        rounds: Per round, ascending.
        classes: Per class with drawings, by label id.
        refused: Refused answers that are kept.
        slides: Slides of the pool.
    """

    tiles: int
    rounds: tuple[RoundProgress, ...]
    classes: tuple[ClassProgress, ...]
    refused: int
    slides: int


@dataclass(frozen=True)
class ReadingStatus:
    """One reading of one tile of a round.

    Attributes:
        tile: Position in the pool.
        rank: Its place in the selection.
        reading: 0, or 1 for the second of two independent readings.
        kind: Newest answer given in this round, None where it is open.
        author: Who gave it, or who has the tile now.
        leased: Whether somebody has the tile now.
        seconds: What all answers for it took.
    """

    tile: int
    rank: int
    reading: int
    kind: AnswerKind | None
    author: str | None
    leased: bool
    seconds: float


def read_progress(database: Database, now: datetime | None = None) -> Progress:
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
        slides = s.scalar(select(func.count()).select_from(SlideRow)) or 0
        return Progress(tiles, rounds, _classes(s), refused, slides)


def _round(session: Session, row: RoundRow, now: datetime) -> RoundProgress:
    asked = session.scalar(select(func.sum(PickRow.readings)).where(PickRow.round == row.number)) or 0
    picked = set(session.scalars(select(PickRow.tile).where(PickRow.round == row.number)))
    said = _answers(session, row.number)
    kinds = Counter(kind for (tile, _), (kind, _, _) in said.items() if kind is not None and tile in picked)
    return RoundProgress(
        number=row.number,
        state=RoundState(row.state),
        asked=int(asked),
        answered=sum(kinds.values()),
        leased=len(_leases(session, row.number, now)),
        kinds=dict(kinds),
        seconds=sum(seconds for _, _, seconds in said.values()),
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


def read_round_status(database: Database, number: int) -> list[ReadingStatus]:
    """The readings of a round, by reading and rank."""
    with database.reading() as s:
        query = select(PickRow.tile, PickRow.rank, PickRow.readings).where(PickRow.round == number)
        picks = list(s.execute(query.order_by(PickRow.rank)))
        said, leases = _answers(s, number), _leases(s, number, now_utc())
    found = []
    for reading in range(max((readings for _, _, readings in picks), default=0)):
        for tile, rank, readings in picks:
            if reading < readings:
                kind, author, seconds = said.get((tile, reading), (None, None, 0.0))
                user = leases.get((tile, reading))
                who = user if kind is None else author
                found.append(ReadingStatus(tile, rank, reading, kind, who, user is not None, seconds))
    return found


def _answers(session: Session, number: int) -> dict[tuple[int, int], tuple[AnswerKind | None, str | None, float]]:
    """(kind, author, seconds of all) by tile and reading; a withdrawn answer leaves the tile open."""
    columns = select(AnswerRow.tile, AnswerRow.reading, AnswerRow.kind, AnswerRow.author, AnswerRow.seconds)
    found: dict[tuple[int, int], tuple[AnswerKind | None, str | None, float]] = {}
    query = columns.where(AnswerRow.round == number).order_by(AnswerRow.version)
    for tile, reading, kind, author, spent in session.execute(query):
        seconds = found.get((tile, reading), (None, None, 0.0))[2] + spent
        gone = kind == AnswerKind.WITHDRAWN
        found[tile, reading] = (None, None, seconds) if gone else (AnswerKind(kind), author, seconds)
    return found


def _leases(session: Session, number: int, now: datetime) -> dict[tuple[int, int], str]:
    """User by tile and reading."""
    query = select(LeaseRow.tile, LeaseRow.reading, LeaseRow.user)
    query = query.where(LeaseRow.round == number, LeaseRow.expires > now)
    return {(tile, reading): user for tile, reading, user in session.execute(query)}
