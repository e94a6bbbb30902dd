"""Who works on what: leases with expiry, and unfinished work."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from aczerots.annotation.records.answers import Answers
from aczerots.annotation.records.checks import check_json, check_position
from aczerots.annotation.records.database import Database, now_utc
from aczerots.annotation.records.facts import RoundState, Sketch, Work
from aczerots.annotation.records.openings import is_open, next_opening
from aczerots.annotation.records.rounds import Rounds
from aczerots.annotation.records.rows import pick_of, tile_of
from aczerots.annotation.records.tables import LeaseRow, PickRow, RoundRow, SketchRow, TileRow
from aczerots.errors import InputError

LEASE = timedelta(minutes=15)
"""How long a tile is lent; renewed while somebody works on it."""

_OPEN = (RoundState.PROPOSED, RoundState.ANNOTATING)


class Loans:
    """Tiles lent to users, and their unfinished work.

    Args:
        database: Of the project.
        rounds: For drafts.
        answers: For earlier answers.
    """

    def __init__(self, database: Database, rounds: Rounds, answers: Answers) -> None:
        self._database, self._rounds, self._answers = database, rounds, answers

    def lease(
        self, user: str, now: datetime | None = None, duration: timedelta = LEASE, slide: str | None = None
    ) -> Work | None:
        """The next tile of the open round that is neither answered nor lent to somebody else.

        Whoever holds a tile gets the same one again, so that a page that was closed goes on. Nobody gets both
        readings of a tile.

        Args:
            user: Who asks.
            now: The moment, UTC; None takes the clock's.
            duration: How long the tile is lent.
            slide: Only tiles of this slide.

        Returns:
            None when no round is open or nothing is left for this user.
        """
        now = now or now_utc()
        with self._database.writing() as s:
            number = _open_round(s)
            if number is None:
                return None
            loan = _held(s, number, user, now, slide)
            if loan is None:
                choice = next_opening(s, number, user, now, slide)
                if choice is None:
                    return None
                loan = s.merge(LeaseRow(round=number, tile=choice[0], reading=choice[1], user=user, expires=now))
            loan.expires = now + duration
            tile, reading, expires = loan.tile, loan.reading, loan.expires
        return self._work(user, number, tile, reading, expires)

    def _work(self, user: str, number: int, tile: int, reading: int, expires: datetime) -> Work:
        answer = self._answers.newest(tile, reading)
        with self._database.reading() as s:
            query = select(PickRow).where(PickRow.round == number, PickRow.tile == tile)
            pick, place = pick_of(s.scalars(query).one()), tile_of(s.get_one(TileRow, tile))
        version = 0 if answer is None else answer.version
        draft = self._rounds.draft(tile)
        return Work(pick, place, reading, expires, version, answer, draft, self.sketch(user, tile))

    def renew(self, user: str, now: datetime | None = None, duration: timedelta = LEASE) -> bool:
        """Lengthen the user's loans; False if there are none any more."""
        with self._database.writing() as s:
            return _renew(s, user, now or now_utc(), duration)

    def release(self, user: str) -> None:
        """Give back the user's tiles; sketches stay."""
        with self._database.writing() as s:
            for loan in s.scalars(select(LeaseRow).where(LeaseRow.user == user)):
                s.delete(loan)

    def save_sketch(self, user: str, tile: int, based_on: int, content: Mapping[str, Any]) -> None:
        """Keep unfinished work in place of what was kept before, and renew the loans; on return it is on the disk.

        Raises:
            InputError: No such tile, or the content is no JSON.
        """
        check_position(tile)
        check_position(based_on)
        check_json(content, "the sketch")
        with self._database.writing() as s:
            if s.get(TileRow, tile) is None:
                raise InputError(f"there is no tile {tile}")
            s.merge(SketchRow(user=user, tile=tile, based_on=based_on, content=dict(content), saved=now_utc()))
            _renew(s, user, now_utc(), LEASE)

    def sketch(self, user: str, tile: int) -> Sketch | None:
        """The user's unfinished work on a tile, None if there is none."""
        check_position(tile)
        with self._database.reading() as s:
            row = s.get(SketchRow, (user, tile))
            return None if row is None else Sketch(row.user, row.tile, row.based_on, dict(row.content), row.saved)


def _renew(session: Session, user: str, now: datetime, duration: timedelta) -> bool:
    """Lengthen the user's loans; whether there are any."""
    loans = list(session.scalars(select(LeaseRow).where(LeaseRow.user == user, LeaseRow.expires > now)))
    for loan in loans:
        loan.expires = now + duration
    return bool(loans)


def _open_round(session: Session) -> int | None:
    """Number of the round that is being annotated; one lease at a time is chosen from it."""
    query = select(RoundRow).where(RoundRow.state.in_(_OPEN)).order_by(RoundRow.number.desc()).limit(1)
    row = session.scalars(query.with_for_update()).first()
    return None if row is None else row.number


def _held(session: Session, number: int, user: str, now: datetime, slide: str | None) -> LeaseRow | None:
    query = select(LeaseRow).where(LeaseRow.round == number, LeaseRow.user == user, LeaseRow.expires > now)
    if slide is not None:
        query = query.join(TileRow, TileRow.position == LeaseRow.tile).where(TileRow.slide == slide)
    for loan in session.scalars(query.order_by(LeaseRow.tile)):
        if is_open(session, number, loan.tile, loan.reading):
            return loan
    return None
