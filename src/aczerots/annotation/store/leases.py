"""Who works on what: leases with expiry, and unfinished work."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, insert, select, update
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
from aczerots.annotation.store.open_readings import reading_to_lease
from aczerots.annotation.store.records import Draft, Event, LeasedTile, PickRecord, Sketch
from aczerots.annotation.store.rows import answer_of, record_of, tile_of
from aczerots.annotation.store.tables import LeaseRow, SketchRow, TileRow, table
from aczerots.errors import InputError

LEASE = timedelta(minutes=15)
"""How long a tile is leased; renewed while somebody works on it."""


class Leases:
    """Tiles leased to users, and their unfinished work."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lease(
        self, user: str, now: datetime | None = None, duration: timedelta = LEASE, slide: str | None = None
    ) -> LeasedTile | None:
        """The next tile of the open round that is neither answered nor leased to somebody else.

        A user who has a tile gets the same one again, so that a page that was closed goes on. Nobody gets both
        readings of a tile.

        Args:
            user: Who asks.
            now: The moment, UTC; None takes the clock's.
            duration: How long the tile is leased.
            slide: Only tiles of this slide.

        Returns:
            None when no round is open or nothing is left for this user.
        """
        now = now or now_utc()
        # The round is locked meanwhile, so others wait for what this one waits for. A lease may be lost in a crash:
        # somebody else may then get the tile and answer first, and the later answer is kept aside.
        with self._database.writing(lasting=False) as s:
            number = open_round(s)
            if number is None:
                return None
            choice = reading_to_lease(s, number, user, now, slide)
            if choice is None:
                return None
            expires = now + duration
            _lease(s, number, choice, user, expires)
        # What the tile needs is read afterwards: on PostgreSQL the next one waits until the round is unlocked.
        with self._database.reading() as s:
            return _leased_tile(s, user, number, choice, expires)

    def revisit(self, user: str, number: int, tile: int, reading: int = 0) -> LeasedTile:
        """A chosen tile of a round for a second look; the lease is not written until work is saved."""
        with self._database.reading() as s:
            return _leased_tile(s, user, number, (tile, reading), now_utc() + LEASE)

    def save_sketch(self, user: str, tile: int, based_on: int, content: Mapping[str, Any]) -> None:
        """Replace the user's unfinished work on a tile and renew the user's leases; on return it is on the disk.

        Raises:
            InputError: No such tile, or the content is no JSON.
        """
        check_position(tile)
        check_position(based_on)
        check_json(content, "the sketch")
        with self._database.writing() as s:
            if s.scalar(_TILE, {"at": tile}) is None:
                raise InputError(f"there is no tile {tile}")
            now, connection = now_utc(), s.connection()
            kept = {"based_on": based_on, "content": dict(content), "saved": now}
            if not connection.execute(_SKETCH, {"who": user, "at": tile, **kept}).rowcount:
                connection.execute(insert(table(SketchRow)), {"author": user, "tile": tile, **kept})
            connection.execute(_RENEW, {"user": user, "now": now, "until": now + LEASE})


def _lease(session: Session, number: int, choice: tuple[int, int], user: str, expires: datetime) -> None:
    """Take over a lease that has ended, lengthen the user's own, or make a new one."""
    tile, reading = choice
    values = {"number": number, "at": tile, "by": reading, "user": user, "until": expires}
    if not session.connection().execute(_LEASE, values).rowcount:
        session.add(LeaseRow(round=number, tile=tile, reading=reading, user=user, expires=expires))
        session.flush()


def _leased_tile(session: Session, user: str, number: int, choice: tuple[int, int], expires: datetime) -> LeasedTile:
    tile, reading = choice
    pick, place = pick_and_tile(session, number, tile)
    answer, draft, sketch = newest_answer(session, *choice), newest_draft(session, tile), sketch_by(session, user, tile)
    return LeasedTile(
        pick=record_of(PickRecord, pick),
        tile=tile_of(place),
        reading=reading,
        expires=expires,
        version=0 if answer is None else answer.version,
        answer=None if answer is None else answer_of(answer),
        draft=None if draft is None else record_of(Draft, draft),
        sketch=None if sketch is None else record_of(Sketch, sketch),
        comments=[record_of(Event, row) for row in comments_on(session, tile)],
    )


# These run with every request; building them is slow, so they are built once.
_LEASES, _SKETCHES = table(LeaseRow), table(SketchRow)
_TILE = select(TileRow.position).where(TileRow.position == bindparam("at"))
_SKETCH = update(_SKETCHES).where(_SKETCHES.c.author == bindparam("who"), _SKETCHES.c.tile == bindparam("at"))
_RENEW = (
    update(_LEASES)
    .where(_LEASES.c.holder == bindparam("user"), _LEASES.c.expires > bindparam("now"))
    .values(expires=bindparam("until"))
)
_LEASE = (
    update(_LEASES)
    .where(
        _LEASES.c.round == bindparam("number"), _LEASES.c.tile == bindparam("at"), _LEASES.c.reading == bindparam("by")
    )
    .values(holder=bindparam("user"), expires=bindparam("until"))
)
