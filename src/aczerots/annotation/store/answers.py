"""Answers: handed in, undone, looked up. Rows are added and never changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from aczerots.annotation.formats.masks import decode_mask, encode_mask
from aczerots.annotation.store.batch import Batch, chunks, shared_columns
from aczerots.annotation.store.checks import check_position
from aczerots.annotation.store.database import Database, now_utc
from aczerots.annotation.store.lookups import newest_answer
from aczerots.annotation.store.open_readings import reopen_reading
from aczerots.annotation.store.people import log
from aczerots.annotation.store.records import Answer, AnswerKind, NewAnswer, RefusedAnswer, StaleAnswer
from aczerots.annotation.store.rows import answer_of, record_of
from aczerots.annotation.store.tables import AnswerRow, RefusedRow, TileRow
from aczerots.errors import InputError
from aczerots.taxonomy import IGNORE


class Answers:
    """What experts said."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: NewAnswer) -> Answer:
        """Keep an answer; on return it is on the disk. Ends the author's lease and clears the sketch.

        Handing in the same ``key`` twice gives the same answer twice.

        Raises:
            InputError: No such tile or round, or the mask does not belong to the kind or to the tile.
            StaleAnswer: Somebody answered meanwhile; the refused answer is kept.
        """
        return self.add_all([new])[0]

    def add_all(self, new: Sequence[NewAnswer]) -> list[Answer]:
        """Keep several answers, all or none.

        Raises:
            InputError: As :meth:`add`; nothing is kept.
            StaleAnswer: As :meth:`add`; only the refused answer is kept, aside.
        """
        with self._database.writing() as s:
            rows = Batch(s, new).keep()
            late = next((n for n, row in zip(new, rows, strict=True) if row is None), None)
            if late is None:
                return [answer_of(row) for row in rows if row is not None]
            newest = _current(s, late)
            s.rollback()
        with self._database.writing() as s:
            refused = _put_aside(s, [(late, newest)])[0]
        raise StaleAnswer(newest, refused)

    def add_each(self, new: Sequence[NewAnswer]) -> list[Answer | None]:
        """Keep several answers; stale ones are kept aside and None here. All is written in one transaction.

        Raises:
            InputError: As :meth:`add`; nothing is kept.
        """
        with self._database.writing() as s:
            rows = Batch(s, new).keep()
            late = [(n, _current(s, n)) for n, row in zip(new, rows, strict=True) if row is None]
            _put_aside(s, late)
            return [None if row is None else answer_of(row) for row in rows]

    def undo(self, tile: int, author: str, *, reading: int = 0, based_on: int, tool: str = "page") -> Answer:
        """Bring back what counted before the newest answer, as a further answer. Undoing again goes further back.

        Raises:
            InputError: There is nothing to undo.
            StaleAnswer: Somebody answered meanwhile.
        """
        with self._database.writing() as s:
            _lock_tile(s, tile)
            newest = newest_answer(s, tile, reading)
            if newest is None:
                raise InputError("there is nothing to undo", where=f"tile {tile}")
            if newest.version != based_on:
                raise StaleAnswer(answer_of(newest))
            return _revert(s, newest, author, tool)

    def newest(self, tile: int, reading: int = 0) -> Answer | None:
        """The answer that counts, None if there is none."""
        check_position(tile)
        with self._database.reading() as s:
            row = newest_answer(s, tile, reading)
            return None if row is None else answer_of(row)

    def history(self, tile: int) -> list[Answer]:
        """All answers for a tile, oldest first."""
        return self.histories([tile]).get(tile, [])

    def histories(self, tiles: Iterable[int]) -> dict[int, list[Answer]]:
        """All answers for some tiles, oldest first; tiles without any are left out."""
        found: dict[int, list[Answer]] = {}
        with self._database.reading() as s:
            for some in chunks(tiles):
                for row in s.scalars(select(AnswerRow).where(AnswerRow.tile.in_(some)).order_by(AnswerRow.id)):
                    found.setdefault(row.tile, []).append(answer_of(row))
        return found

    def answered(self) -> set[int]:
        """Tiles whose first reading has an answer that counts."""
        query = select(AnswerRow.tile, AnswerRow.kind).where(AnswerRow.reading == 0).order_by(AnswerRow.version)
        with self._database.reading() as s:
            newest: dict[int, str] = {row[0]: row[1] for row in s.execute(query)}
        return {tile for tile, kind in newest.items() if kind != AnswerKind.WITHDRAWN}

    def efforts(self) -> list[tuple[str, AnswerKind, float]]:
        """(author, kind, seconds) of every answer that was given, undone ones included, oldest first."""
        query = select(AnswerRow.author, AnswerRow.kind, AnswerRow.seconds).where(AnswerRow.reverts_to.is_(None))
        with self._database.reading() as s:
            return [(row[0], AnswerKind(row[1]), row[2]) for row in s.execute(query.order_by(AnswerRow.id))]

    def counting(self, up_to: int | None = None, reading: int = 0) -> list[Answer]:
        """The newest answer of every answered tile, by position; ``up_to`` leaves out those of later rounds."""
        newer = aliased(AnswerRow)
        last = select(func.max(newer.version)).where(newer.tile == AnswerRow.tile, newer.reading == reading)
        if up_to is not None:
            last = last.where(newer.round <= up_to)
        query = select(AnswerRow).where(AnswerRow.reading == reading, AnswerRow.version == last.scalar_subquery())
        with self._database.reading() as s:
            return [answer_of(r) for r in s.scalars(query.order_by(AnswerRow.tile))]

    def masks(self, up_to: int | None = None, reading: int = 0) -> dict[int, NDArray[np.uint8]]:
        """What a model is fitted to: label ids uint8 [size, size] by tile position, ascending.

        Tiles without a seen class are all IGNORE; skipped tiles and those answered "cannot tell" are left out.
        """
        out = {}
        for answer in self.counting(up_to, reading):
            if answer.mask is not None:
                out[answer.tile] = decode_mask(answer.mask)
            elif answer.kind is AnswerKind.NO_SEEN_CLASS:
                with self._database.reading() as s:
                    size = s.get_one(TileRow, answer.tile).size
                out[answer.tile] = np.full((size, size), IGNORE, dtype=np.uint8)
        return out

    def refused(self) -> list[RefusedAnswer]:
        """Answers that came too late, oldest first."""
        query = select(RefusedRow).order_by(RefusedRow.id)
        with self._database.reading() as s:
            return [record_of(RefusedAnswer, r, kind=AnswerKind(r.kind)) for r in s.scalars(query)]


def _lock_tile(session: Session, position: int) -> None:
    """Let no other transaction answer for a tile until this one ends."""
    check_position(position)
    if session.get(TileRow, position, with_for_update=True) is None:
        raise InputError(f"there is no tile {position}")


def _current(session: Session, new: NewAnswer) -> Answer:
    """The answer that counts where a stale one was handed in."""
    row = newest_answer(session, new.tile, new.reading)
    assert row is not None, "an answer is stale only if there is a newer one"
    return answer_of(row)


def _put_aside(session: Session, late: Sequence[tuple[NewAnswer, Answer]]) -> list[int]:
    """Keep answers that came too late; gives their numbers. One that was kept before is not kept again."""
    numbers = []
    for new, newest in late:
        known = session.scalars(select(RefusedRow).where(RefusedRow.key == new.key)).first()
        if known is None:
            mask = None if new.mask is None else encode_mask(new.mask)
            known = RefusedRow(**shared_columns(new), newest=newest.version, mask=mask)
            session.add(known)
            session.flush()
            about = {"tile": new.tile, "based_on": new.based_on, "newest": newest.version}
            log(session, new.author, "refused", about)
        numbers.append(known.id)
    return numbers


def _revert(session: Session, newest: AnswerRow, author: str, tool: str) -> Answer:
    """Append the content that counted before that of ``newest``."""
    shown = newest.version if newest.reverts_to is None else newest.reverts_to
    if shown == 0:
        raise InputError("there is nothing to undo", where=f"tile {newest.tile}")
    chain = select(AnswerRow).where(AnswerRow.tile == newest.tile, AnswerRow.reading == newest.reading)
    before = session.scalars(chain.where(AnswerRow.version == shown - 1)).first()
    target = 0 if before is None else before.version if before.reverts_to is None else before.reverts_to
    source = session.scalars(chain.where(AnswerRow.version == target)).first() if target else None
    nothing: dict[str, Any] = {"kind": AnswerKind.WITHDRAWN, "comment": "", "pixels": {}}
    nothing |= dict.fromkeys(("mask", "geometry", "draft"))
    content = nothing if source is None else {name: getattr(source, name) for name in nothing}
    row = AnswerRow(
        **content,
        tile=newest.tile,
        round=newest.round,
        reading=newest.reading,
        author=author,
        created=now_utc(),
        tool=tool,
        version=newest.version + 1,
        based_on=newest.version,
        seconds=0.0,
        reverts_to=target,
        key=f"undo-{newest.tile}-{newest.reading}-{newest.version}",
    )
    session.add(row)
    session.flush()
    if source is None:
        reopen_reading(session, row.round, row.tile, row.reading)
    log(session, author, "undo", {"tile": row.tile, "version": row.version, "reverts_to": target})
    return answer_of(row)
