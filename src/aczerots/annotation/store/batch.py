"""Answers handed in together: what they are checked against is read once, and they are written in one go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.orm import Session

from aczerots.annotation.formats.masks import encode_mask, only_inside
from aczerots.annotation.store.checks import check_answer
from aczerots.annotation.store.database import now_utc
from aczerots.annotation.store.open_readings import close_readings
from aczerots.annotation.store.people import log
from aczerots.annotation.store.records import WITH_MASK, AnswerKind, NewAnswer, RoundState
from aczerots.annotation.store.rows import tile_of
from aczerots.annotation.store.tables import AnswerRow, LeaseRow, RoundRow, SketchRow, TileRow, table
from aczerots.errors import InputError
from aczerots.slides.base import Tile
from aczerots.taxonomy import IGNORE

_CHUNK = 500
"""Values of one query; databases take some thousands."""


def chunks(values: Iterable[Any]) -> Iterable[list[Any]]:
    """Values, sorted and without duplicates, in portions for a query."""
    ordered = sorted(set(values))
    return (ordered[i : i + _CHUNK] for i in range(0, len(ordered), _CHUNK))


def shared_columns(new: NewAnswer) -> dict[str, Any]:
    """Columns that an answer has whether it is kept or refused; the mask is not among them."""
    same = ("tile", "round", "reading", "author", "tool", "kind", "based_on", "comment", "seconds", "key")
    geometry = None if new.geometry is None else dict(new.geometry)
    return {name: getattr(new, name) for name in same} | {"created": now_utc(), "geometry": geometry}


class Batch:
    """Answers to be kept in one transaction.

    Locks their tiles, in one order for all writers: no deadlock.

    Args:
        session: A transaction that may write.
        new: Checked on their own; at most some thousands.

    Raises:
        InputError: A value that no database can hold, or no such tile.
    """

    def __init__(self, session: Session, new: Sequence[NewAnswer]) -> None:
        for one in new:
            check_answer(one)
        self._session, self._new = session, new
        self._tiles: dict[int, Tile] = {}
        self._versions: dict[tuple[int, int], int] = {}
        self._known: dict[str, AnswerRow] = {}
        for some in chunks(one.tile for one in new):
            self._look_up(some)
        for keys in chunks(one.key for one in new):
            query = select(AnswerRow).where(AnswerRow.key.in_(keys))
            self._known |= {row.key: row for row in session.scalars(query)}
        self._rounds = {r.number: r for r in session.scalars(select(RoundRow))}

    def _look_up(self, tiles: list[int]) -> None:
        """Lock some tiles and see how far their answers are."""
        query = select(TileRow).where(TileRow.position.in_(tiles)).order_by(TileRow.position).with_for_update()
        found = {row.position: tile_of(row) for row in self._session.scalars(query)}
        missing = next((t for t in tiles if t not in found), None)
        if missing is not None:
            raise InputError(f"there is no tile {missing}")
        self._tiles |= found
        place = AnswerRow.tile, AnswerRow.reading
        newest = select(*place, func.max(AnswerRow.version)).where(AnswerRow.tile.in_(tiles)).group_by(*place)
        self._versions |= {(tile, reading): version for tile, reading, version in self._session.execute(newest)}

    def keep(self) -> list[AnswerRow | None]:
        """Keep what is not stale; what is known by its key stays as it is.

        Returns:
            The rows in the order of the answers, None for a stale one.

        Raises:
            InputError: No such round or version, or the mask does not belong to the kind or to the tile.
        """
        kept: list[AnswerRow | None] = []
        fresh: list[AnswerRow] = []
        for one in self._new:
            row = self._known.get(one.key)
            if row is None and one.based_on >= self._versions.get((one.tile, one.reading), 0):
                row = self._append(one)
                fresh.append(row)
            kept.append(row)
        self._session.add_all(fresh)
        self._end_leases(fresh)
        self._session.flush()
        for row in fresh:
            about = {"tile": row.tile, "answer": row.id, "version": row.version, "kind": row.kind}
            log(self._session, row.author, "answer", about)
        return kept

    def _append(self, new: NewAnswer) -> AnswerRow:
        version = self._versions.get((new.tile, new.reading), 0)
        where = f"tile {new.tile}"
        if new.based_on != version:
            raise InputError(f"is based on version {new.based_on}, which does not exist", where=where)
        begun = self._rounds.get(new.round)
        if begun is None:
            raise InputError(f"there is no round {new.round}", where=where)
        mask, pixels = checked_mask(new, self._tiles[new.tile])
        row = AnswerRow(
            **shared_columns(new), version=version + 1, mask=mask, draft=new.draft, pixels=pixels, reverts_to=None
        )
        if begun.state == RoundState.PROPOSED:
            begun.state = RoundState.ANNOTATING
        self._versions[new.tile, new.reading] = version + 1
        self._known[new.key] = row
        return row

    def _end_leases(self, rows: Sequence[AnswerRow]) -> None:
        """Close what is answered, end the leases and remove the unfinished work of the authors."""
        close_readings(self._session, [(row.round, row.tile, row.reading) for row in rows])
        values = [{"number": r.round, "at": r.tile, "by": r.reading, "who": r.author} for r in rows]
        if values:
            self._session.connection().execute(_END_LEASE, values)
            self._session.connection().execute(_REMOVE_SKETCH, values)


_LEASES, _SKETCHES = table(LeaseRow), table(SketchRow)
_END_LEASE = delete(_LEASES).where(
    _LEASES.c.round == bindparam("number"),
    _LEASES.c.tile == bindparam("at"),
    _LEASES.c.reading == bindparam("by"),
    _LEASES.c.holder == bindparam("who"),
)
_REMOVE_SKETCH = delete(_SKETCHES).where(_SKETCHES.c.author == bindparam("who"), _SKETCHES.c.tile == bindparam("at"))


def checked_mask(new: NewAnswer, tile: Tile) -> tuple[bytes | None, dict[str, Any]]:
    """PNG and pixels per label id inside the tile's box.

    Raises:
        InputError: The mask does not belong to the kind or to the tile.
    """
    if new.kind is AnswerKind.WITHDRAWN:
        raise InputError("is made by undoing only", where=new.kind)
    if (new.mask is not None) != (new.kind in WITH_MASK):
        has = "needs a mask" if new.mask is None else "has no mask"
        raise InputError(f"an answer of the kind {new.kind} {has}", where=f"tile {new.tile}")
    if new.mask is None:
        return None, {}
    if new.mask.shape != (tile.size, tile.size) or new.mask.dtype != np.uint8:
        got = f"{new.mask.shape} of {new.mask.dtype}"
        raise InputError(f"the mask is {got}, not ({tile.size}, {tile.size}) of uint8", where=f"tile {new.tile}")
    mask = only_inside(new.mask, tile)
    counts = np.bincount(mask.ravel(), minlength=256)[:IGNORE]
    return encode_mask(mask), {str(i): int(counts[i]) for i in np.flatnonzero(counts)}
