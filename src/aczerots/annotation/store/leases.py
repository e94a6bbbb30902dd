"""Who works on what: leases with expiry, and unfinished work."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Select, Update, bindparam, insert, select, update
from sqlalchemy.orm import Session

from aczerots.annotation.store.checks import check_json, check_position
from aczerots.annotation.store.database import Database, now_utc
from aczerots.annotation.store.lookups import (
    comments_on,
    newest_answer,
    newest_draft,
    open_round,
    pick_and_tile,
    sketch_by,
)
from aczerots.annotation.store.openings import held_opening, next_opening
from aczerots.annotation.store.records import Sketch, Work
from aczerots.annotation.store.rows import answer_of, draft_of, event_of, pick_of, sketch_of, tile_of
from aczerots.annotation.store.tables import LeaseRow, SketchRow, TileRow, table
from aczerots.errors import InputError

LEASE = timedelta(minutes=15)
"""How long a tile is lent; renewed while somebody works on it."""


class Leases:
    """Tiles lent to users, and their unfinished work.

    Args:
        database: Of the project.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

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
        # The round is locked meanwhile, so others wait for what this one waits for. A lease may be lost in a crash:
        # whoever else is lent the tile then has the newer answer, and the later one is kept aside.
        with self._database.writing(lasting=False) as s:
            number = open_round(s)
            if number is None:
                return None
            choice = held_opening(s, number, user, now, slide) or next_opening(s, number, user, now, slide)
            if choice is None:
                return None
            expires = now + duration
            _lend(s, number, choice, user, expires)
        # What the tile needs is read afterwards: on PostgreSQL the next one waits until the round is unlocked.
        with self._database.reading() as s:
            return _work(s, user, number, choice, expires)

    def save_sketch(self, user: str, tile: int, based_on: int, content: Mapping[str, Any]) -> None:
        """Keep unfinished work in place of what was kept before, and renew the leases; on return it is on the disk.

        Raises:
            InputError: No such tile, or the content is no JSON.
        """
        check_position(tile)
        check_position(based_on)
        check_json(content, "the sketch")
        with self._database.writing() as s:
            if s.scalar(_tile(), {"at": tile}) is None:
                raise InputError(f"there is no tile {tile}")
            now, connection = now_utc(), s.connection()
            kept = {"based_on": based_on, "content": dict(content), "saved": now}
            if not connection.execute(_keeping(), {"who": user, "at": tile, **kept}).rowcount:
                connection.execute(insert(table(SketchRow)), {"author": user, "tile": tile, **kept})
            connection.execute(_renewing(), {"user": user, "now": now, "until": now + LEASE})

    def sketch(self, user: str, tile: int) -> Sketch | None:
        """The user's unfinished work on a tile, None if there is none."""
        check_position(tile)
        with self._database.reading() as s:
            row = sketch_by(s, user, tile)
            return None if row is None else sketch_of(row)


def _lend(session: Session, number: int, choice: tuple[int, int], user: str, expires: datetime) -> None:
    """Lend a reading in place of a lease that has ended, or lengthen the user's own."""
    place = {"number": number, "at": choice[0], "by": choice[1]}
    if not session.connection().execute(_lending(), {**place, "user": user, "until": expires}).rowcount:
        lease = LeaseRow(round=number, tile=choice[0], reading=choice[1], user=user, expires=expires)
        session.add(lease)
        session.flush()


@cache
def _lending() -> Update:
    leases = table(LeaseRow)
    at = leases.c
    place = at.round == bindparam("number"), at.tile == bindparam("at"), at.reading == bindparam("by")
    return update(leases).where(*place).values(holder=bindparam("user"), expires=bindparam("until"))


@cache
def _tile() -> Select[int]:
    return select(TileRow.position).where(TileRow.position == bindparam("at"))


@cache
def _keeping() -> Update:
    sketches = table(SketchRow)
    return update(sketches).where(sketches.c.author == bindparam("who"), sketches.c.tile == bindparam("at"))


@cache
def _renewing() -> Update:
    leases = table(LeaseRow)
    mine = leases.c.holder == bindparam("user"), leases.c.expires > bindparam("now")
    return update(leases).where(*mine).values(expires=bindparam("until"))


def _work(session: Session, user: str, number: int, choice: tuple[int, int], expires: datetime) -> Work:
    tile, reading = choice
    pick, place = pick_and_tile(session, number, tile)
    answer, draft, sketch = newest_answer(session, *choice), newest_draft(session, tile), sketch_by(session, user, tile)
    return Work(
        pick=pick_of(pick),
        tile=tile_of(place),
        reading=reading,
        expires=expires,
        version=0 if answer is None else answer.version,
        answer=None if answer is None else answer_of(answer),
        draft=None if draft is None else draft_of(draft),
        sketch=None if sketch is None else sketch_of(sketch),
        comments=[event_of(row) for row in comments_on(session, tile)],
    )
