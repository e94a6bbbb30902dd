"""Answers: handed in, undone, looked up. Rows are added and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from aczerots.annotation.records.checks import check_answer, check_position
from aczerots.annotation.records.database import Database, now_utc
from aczerots.annotation.records.facts import (
    WITH_MASK,
    Answer,
    AnswerKind,
    NewAnswer,
    RefusedAnswer,
    RoundState,
    StaleAnswer,
)
from aczerots.annotation.records.people import log
from aczerots.annotation.records.rows import answer_of, decode_mask, encode_mask, refused_of, tile_of
from aczerots.annotation.records.tables import AnswerRow, LeaseRow, RefusedRow, RoundRow, SketchRow, TileRow
from aczerots.errors import InputError
from aczerots.slides.base import Tile
from aczerots.taxonomy import IGNORE


class Answers:
    """What experts said.

    Args:
        database: Of the project.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: NewAnswer) -> Answer:
        """Keep an answer; on return it is on the disk. Ends the author's loan and clears the sketch.

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
        for one in new:
            check_answer(one)
        kept: list[Answer] = []
        stale: tuple[NewAnswer, Answer] | None = None
        with self._database.writing() as s:
            for one in sorted(new, key=lambda n: n.tile):  # one order for all writers: no deadlock
                tile = _lock_tile(s, one.tile)
                same = s.scalars(select(AnswerRow).where(AnswerRow.key == one.key)).first()
                newest = _newest(s, one.tile, one.reading)
                if same is not None:
                    kept.append(answer_of(same))
                elif newest is not None and newest.version != one.based_on:
                    stale = one, answer_of(newest)
                    s.rollback()
                    break
                else:
                    kept.append(answer_of(_append(s, one, tile, newest)))
        if stale is not None:
            raise StaleAnswer(stale[1], self._keep_refused(*stale))
        order = {n.key: i for i, n in enumerate(new)}
        return sorted(kept, key=lambda a: order[a.key])

    def _keep_refused(self, new: NewAnswer, newest: Answer) -> int:
        mask = None if new.mask is None else encode_mask(new.mask)
        with self._database.writing() as s:
            known = s.scalars(select(RefusedRow).where(RefusedRow.key == new.key)).first()
            if known is not None:
                return known.id
            row = RefusedRow(
                tile=new.tile,
                round=new.round,
                reading=new.reading,
                author=new.author,
                created=now_utc(),
                tool=new.tool,
                kind=new.kind,
                based_on=new.based_on,
                newest=newest.version,
                mask=mask,
                geometry=None if new.geometry is None else dict(new.geometry),
                comment=new.comment,
                seconds=new.seconds,
                key=new.key,
            )
            s.add(row)
            s.flush()
            log(s, new.author, "refused", {"tile": new.tile, "based_on": new.based_on, "newest": newest.version})
            return row.id

    def undo(self, tile: int, author: str, *, reading: int = 0, based_on: int, tool: str = "page") -> Answer:
        """Bring back what counted before the newest answer, as a further answer. Undoing again goes further back.

        Raises:
            InputError: There is nothing to undo.
            StaleAnswer: Somebody answered meanwhile.
        """
        stale: Answer | None = None
        with self._database.writing() as s:
            _lock_tile(s, tile)
            newest = _newest(s, tile, reading)
            if newest is None:
                raise InputError("there is nothing to undo", where=f"tile {tile}")
            if newest.version != based_on:
                stale = answer_of(newest)
            else:
                done = _revert(s, newest, author, tool)
        if stale is not None:
            raise StaleAnswer(stale, 0)
        return done

    def newest(self, tile: int, reading: int = 0) -> Answer | None:
        """The answer that counts, None if there is none."""
        check_position(tile)
        with self._database.reading() as s:
            row = _newest(s, tile, reading)
            return None if row is None else answer_of(row)

    def history(self, tile: int) -> list[Answer]:
        """All answers for a tile, oldest first."""
        query = select(AnswerRow).where(AnswerRow.tile == tile).order_by(AnswerRow.id)
        with self._database.reading() as s:
            return [answer_of(r) for r in s.scalars(query)]

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

        Tiles without a seen class are all IGNORE; tiles that nobody could tell or that were skipped are left out.
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
        with self._database.reading() as s:
            return [refused_of(r) for r in s.scalars(select(RefusedRow).order_by(RefusedRow.id))]


def newest_version(session: Session, tile: int, reading: int) -> int:
    """Version of the answer that counts, 0 for none."""
    row = _newest(session, tile, reading)
    return 0 if row is None else row.version


def _lock_tile(session: Session, position: int) -> Tile:
    """The tile, which no other transaction may answer for until this one ends."""
    check_position(position)
    row = session.get(TileRow, position, with_for_update=True)
    if row is None:
        raise InputError(f"there is no tile {position}")
    return tile_of(row)


def _newest(session: Session, tile: int, reading: int) -> AnswerRow | None:
    query = select(AnswerRow).where(AnswerRow.tile == tile, AnswerRow.reading == reading)
    return session.scalars(query.order_by(AnswerRow.version.desc()).limit(1)).first()


def _append(session: Session, new: NewAnswer, tile: Tile, newest: AnswerRow | None) -> AnswerRow:
    version = 0 if newest is None else newest.version
    if new.based_on != version:
        raise InputError(f"is based on version {new.based_on}, which does not exist", where=f"tile {new.tile}")
    begun = session.get(RoundRow, new.round)
    if begun is None:
        raise InputError(f"there is no round {new.round}", where=f"tile {new.tile}")
    mask, pixels = _checked_mask(new, tile)
    row = AnswerRow(
        tile=new.tile,
        round=new.round,
        reading=new.reading,
        author=new.author,
        created=now_utc(),
        tool=new.tool,
        kind=new.kind,
        version=version + 1,
        based_on=new.based_on,
        mask=mask,
        geometry=None if new.geometry is None else dict(new.geometry),
        comment=new.comment,
        seconds=new.seconds,
        draft=new.draft,
        pixels=pixels,
        reverts_to=None,
        key=new.key,
    )
    session.add(row)
    if begun.state == RoundState.PROPOSED:
        begun.state = RoundState.ANNOTATING
    _end_loan(session, row)
    session.flush()
    log(session, new.author, "answer", {"tile": new.tile, "answer": row.id, "version": row.version, "kind": row.kind})
    return row


def _checked_mask(new: NewAnswer, tile: Tile) -> tuple[bytes | None, dict[str, Any]]:
    """PNG and pixels per label id inside the tile's box."""
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
    mask = np.full_like(new.mask, IGNORE)
    mask[tile.inner] = new.mask[tile.inner]
    ids, counts = np.unique(mask[mask != IGNORE], return_counts=True)
    return encode_mask(mask), {str(i): int(n) for i, n in zip(ids, counts, strict=True)}


def _end_loan(session: Session, row: AnswerRow) -> None:
    """The author's loan and sketch have served."""
    loan = session.get(LeaseRow, (row.round, row.tile, row.reading))
    if loan is not None and loan.user == row.author:
        session.delete(loan)
    sketch = session.get(SketchRow, (row.author, row.tile))
    if sketch is not None:
        session.delete(sketch)


def _revert(session: Session, newest: AnswerRow, author: str, tool: str) -> Answer:
    """Append the content that counted before that of ``newest``."""
    shown = newest.version if newest.reverts_to is None else newest.reverts_to
    if shown == 0:
        raise InputError("there is nothing to undo", where=f"tile {newest.tile}")
    chain = select(AnswerRow).where(AnswerRow.tile == newest.tile, AnswerRow.reading == newest.reading)
    before = session.scalars(chain.where(AnswerRow.version == shown - 1)).first()
    target = 0 if before is None else before.version if before.reverts_to is None else before.reverts_to
    source = session.scalars(chain.where(AnswerRow.version == target)).first() if target else None
    row = AnswerRow(
        tile=newest.tile,
        round=newest.round,
        reading=newest.reading,
        author=author,
        created=now_utc(),
        tool=tool,
        kind=AnswerKind.WITHDRAWN if source is None else source.kind,
        version=newest.version + 1,
        based_on=newest.version,
        mask=None if source is None else source.mask,
        geometry=None if source is None else source.geometry,
        comment="" if source is None else source.comment,
        seconds=0.0,
        draft=None if source is None else source.draft,
        pixels={} if source is None else source.pixels,
        reverts_to=target,
        key=f"undo-{newest.tile}-{newest.reading}-{newest.version}",
    )
    session.add(row)
    session.flush()
    log(session, author, "undo", {"tile": row.tile, "version": row.version, "reverts_to": target})
    return answer_of(row)
