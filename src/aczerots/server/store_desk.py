"""A project's store as the page sees it; satisfies :class:`~aczerots.server.ports.Desk`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from statistics import median
from threading import Lock
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.masks import decode_mask
from aczerots.annotation.overlays import find_unseen
from aczerots.annotation.stopping import stopping_criterion
from aczerots.annotation.store.database import now_utc
from aczerots.annotation.store.leases import LEASE
from aczerots.annotation.store.records import WITH_MASK, AnswerKind, NewAnswer, PickRecord, Sketch, StaleAnswer
from aczerots.annotation.store.records import Work as LentTile
from aczerots.annotation.store.store import ProjectStore
from aczerots.engine.progress import Progress
from aczerots.errors import InputError
from aczerots.server.ports import (
    Answer,
    ConflictError,
    Overlay,
    Results,
    RoundStatus,
    Task,
    TileStatus,
    UnknownTileError,
    Verdict,
    Work,
)
from aczerots.server.runs import decode_runs, encode_runs
from aczerots.slides.base import Slide, Tile
from aczerots.taxonomy import Taxonomy

OVERLAYS = 12
"""Pictures per unseen class in the results view."""


@final
class StoreDesk:
    """A project's store, taxonomy and slides behind one counter.

    Args:
        name: Name of the project.
        store: Its database.
        taxonomy: Its classes.
        slides: Opens its slides, in the order in which they were imported; asked again when the pool has grown.
        advance: Fits, measures and proposes the next round.
    """

    def __init__(
        self,
        name: str,
        store: ProjectStore,
        taxonomy: Taxonomy,
        slides: Callable[[], Sequence[Slide]],
        advance: Callable[[Progress], None],
    ) -> None:
        self._name, self._store, self._taxonomy = name, store, taxonomy
        self._open_slides, self._advance = slides, advance
        self._slides, self._pool = tuple(slides()), store.rounds.tiles()
        self._ranked: tuple[int, Mapping[int, PickRecord]] = -1, {}
        self._lock = Lock()

    @property
    def name(self) -> str:
        """Name of the project."""
        return self._name

    @property
    def taxonomy(self) -> Taxonomy:
        """Its classes."""
        return self._taxonomy

    @property
    def slides(self) -> Sequence[Slide]:
        """Its slides."""
        return self._slides

    def tile(self, position: int) -> Tile:
        """See :class:`~aczerots.server.ports.Desk`."""
        if position >= len(self._pool):
            self._grow()
        if not 0 <= position < len(self._pool):
            raise UnknownTileError(f"there is no tile {position}")
        return self._pool[position]

    def _grow(self) -> None:
        """Take in what was imported since the desk was opened."""
        pool = self._store.rounds.tiles()
        if len(pool) > len(self._pool):
            self._slides = tuple(self._open_slides())
            self._pool = pool

    def _pick(self, position: int) -> tuple[int, PickRecord]:
        """(newest round, newest pick of a tile); picks are read again when a round is new."""
        self.tile(position)
        number = self._store.rounds.last()
        with self._lock:
            if self._ranked[0] != number:
                self._ranked = number, {p.tile: p for p in self._store.rounds.picks()}
            pick = self._ranked[1].get(position)
        if pick is None:
            raise UnknownTileError(f"tile {position} is in no round")
        return number, pick

    def next_task(self, user: str) -> Task | None:
        """See :class:`~aczerots.server.ports.Desk`."""
        work = self._store.leases.lease(user)
        if work is None:
            return None
        return self._task(work)

    def open_task(self, user: str, position: int, reading: int) -> Task:
        """See :class:`~aczerots.server.ports.Desk`."""
        _, pick = self._pick(position)
        for line in self._store.board(pick.round):
            other = line.author is not None and line.author != user
            if line.tile == position and line.reading == reading and line.leased and other and line.kind is None:
                raise ConflictError(f"{line.author} is working on this tile", fix="Take another one")
            if line.tile == position and line.reading != reading and line.author == user:
                raise ConflictError("you have drawn this tile", fix="The second reading is for somebody else")
        answer = self._store.answers.newest(position, reading)
        work = LentTile(
            pick=pick,
            tile=self.tile(position),
            reading=reading,
            expires=now_utc() + LEASE,
            version=0 if answer is None else answer.version,
            answer=answer,
            draft=self._store.rounds.draft(position),
            sketch=self._store.leases.sketch(user, position),
            comments=self._store.people.comments(position),
        )
        return self._task(work)

    def _task(self, lent: LentTile) -> Task:
        pick, answer, draft, sketch = lent.pick, lent.answer, lent.draft, lent.sketch
        kind = None if answer is None or answer.kind is AnswerKind.WITHDRAWN else answer.kind
        return Task(
            position=pick.tile,
            tile=self.tile(pick.tile),
            round=pick.round,
            rank=pick.rank,
            reading=lent.reading,
            score=pick.score,
            components=pick.components,
            version=lent.version,
            expires=lent.expires,
            draft=None if draft is None else decode_mask(draft.mask),
            draft_id=None if draft is None else draft.id,
            answer=None if answer is None or answer.mask is None else decode_mask(answer.mask),
            verdict=None if kind is None else Verdict(kind.value),
            comments=_said(lent),
            work=None if sketch is None else self._work_of(sketch, lent.reading),
        )

    def _work_of(self, sketch: Sketch, reading: int) -> Work | None:
        """The autosaved work, None where it belongs to the other reading."""
        content = sketch.content
        if content["reading"] != reading:
            return None
        mask = decode_runs(content["mask"], self.tile(sketch.tile).size)
        return Work(mask, content["comment"], content["seconds"], sketch.based_on, content["draft_id"], reading)

    def save_work(self, user: str, position: int, work: Work) -> datetime:
        """See :class:`~aczerots.server.ports.Desk`."""
        self._pick(position)
        content: dict[str, Any] = {
            "mask": encode_runs(work.mask),
            "comment": work.comment,
            "seconds": work.seconds,
            "draft_id": work.draft_id,
            "reading": work.reading,
        }
        self._store.leases.save_sketch(user, position, work.version, content)
        newest = self._store.answers.newest(position, work.reading)
        version = 0 if newest is None else newest.version
        if newest is not None and version != work.version:
            raise ConflictError(
                f"{newest.author} has handed in version {version} meanwhile",
                fix="Your drawing is kept; load the newest before you hand in",
            )
        return now_utc() + LEASE

    def answer(self, user: str, position: int, answer: Answer) -> int:
        """See :class:`~aczerots.server.ports.Desk`."""
        number, pick = self._pick(position)
        kind = AnswerKind(answer.verdict.value)
        if answer.reading >= pick.readings:
            raise UnknownTileError(f"tile {position} is read once only")
        new = NewAnswer(
            tile=position,
            round=number,
            author=user,
            tool="page",
            kind=kind,
            based_on=answer.version,
            mask=answer.mask if kind in WITH_MASK else None,
            comment=answer.comment,
            seconds=answer.seconds,
            draft=self._draft(position, answer.draft_id),
            reading=answer.reading,
            key=f"{user}/{position}/{answer.key}",
        )
        try:
            return self._store.answers.add(new).version
        except StaleAnswer as stale:
            raise ConflictError(stale.what, where=stale.where, fix=stale.fix) from stale

    def _draft(self, position: int, given: int | None) -> int | None:
        """The draft's number if it can be one of this tile's.

        Raises:
            InputError: No such draft.
        """
        if given is None:
            return None
        newest = self._store.rounds.draft(position)
        if newest is None or given > newest.id or given < 1:
            raise InputError(f"there is no draft {given}", where=f"tile {position}")
        return given

    def undo(self, user: str, position: int, reading: int) -> int:
        """See :class:`~aczerots.server.ports.Desk`."""
        self._pick(position)
        newest = self._store.answers.newest(position, reading)
        if newest is None or newest.author != user:
            raise ConflictError("the newest answer on this tile is not yours", fix="Hand in a new answer instead")
        try:
            return self._store.answers.undo(position, user, reading=reading, based_on=newest.version).version
        except StaleAnswer as stale:
            raise ConflictError(stale.what, where=stale.where) from stale
        except InputError as error:
            raise ConflictError(error.what, where=error.where) from error

    def comment(self, user: str, position: int, text: str) -> None:
        """See :class:`~aczerots.server.ports.Desk`."""
        self._pick(position)
        self._store.people.note(user, "comment", {"tile": position, "text": text})

    def round_status(self) -> RoundStatus:
        """See :class:`~aczerots.server.ports.Desk`."""
        newest = self._store.rounds.newest()
        if newest is None:
            return RoundStatus(0, "proposed", (), [0] * len(self._taxonomy), 0.0, None, {})
        lines = self._store.board(newest.number)
        done = [line for line in lines if line.kind is not None]
        authors: dict[str, int] = {}
        for line in done:
            authors[line.author or ""] = authors.get(line.author or "", 0) + 1
        times = [line.seconds for line in done if line.seconds > 0]
        return RoundStatus(
            number=newest.number,
            state=newest.state.value,
            tiles=[
                TileStatus(
                    line.tile,
                    line.rank,
                    line.reading,
                    None if line.kind is None else Verdict(line.kind.value),
                    line.author,
                    line.leased,
                )
                for line in lines
            ],
            pixels=self._pixels(),
            seconds=sum(line.seconds for line in lines),
            median_seconds=median(times) if times else None,
            authors=authors,
        )

    def left(self) -> int:
        """See :class:`~aczerots.server.ports.Desk`."""
        return self._store.left()

    def _pixels(self) -> list[int]:
        drawn = {c.label: c.pixels for c in self._store.progress().classes}
        return [drawn.get(label, 0) for label in range(len(self._taxonomy))]

    def prediction(self, position: int) -> NDArray[np.uint8]:
        """See :class:`~aczerots.server.ports.Desk`."""
        self.tile(position)
        draft = self._store.rounds.draft(position)
        if draft is None:
            raise UnknownTileError(f"there is no prediction for tile {position}")
        return decode_mask(draft.mask)

    def results(self) -> Results:
        """See :class:`~aczerots.server.ports.Desk`."""
        measured = [(r.number, r.metrics) for r in self._store.rounds.all() if r.metrics]
        rows = [{"round": float(n), **_numbers(m)} for n, m in measured]
        change = {n: float(m["change"]) for n, m in measured if isinstance(m.get("change"), float)}
        coverage = {n: float(m["coverage"]) for n, m in measured if isinstance(m.get("coverage"), float)}
        newest = measured[-1][1] if measured else {}
        names = self._taxonomy.names
        ious = {i: float(v) for i, c in enumerate(names) if isinstance(v := newest.get(f"iou:{c}"), float)}
        return Results(rows, ious, change, self._overlays(), stopping_criterion(change, coverage))

    def _overlays(self) -> list[Overlay]:
        """Tiles of the newest round whose draft shows most of each unseen class."""
        self._grow()
        found = find_unseen(self._store, self._pool, self._taxonomy, OVERLAYS)
        return [Overlay(s.position, self.tile(s.position), s.label, s.share) for s in found]

    def advance(self, progress: Progress) -> None:
        """See :class:`~aczerots.server.ports.Desk`."""
        self._advance(progress)


def _said(lent: LentTile) -> list[str]:
    """Comments, oldest first."""
    said = [f"{e.user}: {e.about['text']}" for e in lent.comments]
    answer = lent.answer
    return said if answer is None or not answer.comment else [*said, f"{answer.author}: {answer.comment}"]


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The plain numbers among some metrics, without those per class."""
    return {k: float(v) for k, v in metrics.items() if isinstance(v, int | float) and not k.startswith("iou:")}
