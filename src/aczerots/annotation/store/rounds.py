"""The pool and the rounds: tiles, selections, states, drafts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import func, select

from aczerots.annotation.formats.masks import encode_mask
from aczerots.annotation.store.batch import chunks
from aczerots.annotation.store.database import Database, now_utc
from aczerots.annotation.store.lookups import last_number, newest_draft, newest_round
from aczerots.annotation.store.open_readings import open_readings
from aczerots.annotation.store.people import log
from aczerots.annotation.store.records import Draft, NewDraft, PickRecord, RoundRecord, RoundState, SlideRecord
from aczerots.annotation.store.rows import record_of, round_of, tile_of, without_nan
from aczerots.annotation.store.tables import DraftRow, FactRow, PickRow, RoundRow, SlideRow, TileRow
from aczerots.errors import InputError, SettingsError
from aczerots.slides.base import Tile

_ORDER = list(RoundState)


class Rounds:
    """Pool and rounds of a project."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, key: str, value: Mapping[str, Any]) -> None:
        """Set a named JSON value."""
        with self._database.writing() as s:
            s.merge(FactRow(key=key, value=dict(value)))

    def recall(self, key: str) -> dict[str, Any] | None:
        """A named JSON value, None if never set."""
        with self._database.reading() as s:
            row = s.get(FactRow, key)
            return None if row is None else dict(row.value)

    def add_slide(self, slide: SlideRecord, tiles: Sequence[Tile]) -> bool:
        """Add one slide by :meth:`add_slides`."""
        return self.add_slides([(slide, tiles)])[0]

    def add_slides(self, slides: Sequence[tuple[SlideRecord, Sequence[Tile]]]) -> list[bool]:
        """Add slides, all or none, and put their tiles at the end of the pool.

        Returns:
            False for each slide that is there already, unchanged.

        Raises:
            InputError: A slide of that id is there with other pixels.
        """
        with self._database.writing() as s:
            start = s.scalar(select(func.count()).select_from(TileRow)) or 0
            known = {row.id: row for row in s.scalars(select(SlideRow))}
            added, rows = [], list[TileRow]()
            for slide, tiles in slides:
                row = known.get(slide.id)
                if row is not None and row.fingerprint != slide.fingerprint:
                    fix = "Import a changed image under another name"
                    raise InputError(f"slide '{slide.id}' has other pixels than before", where=slide.path, fix=fix)
                if row is None:
                    s.add(SlideRow(**vars(slide)))
                    rows += [_tile_row(start + len(rows) + i, t) for i, t in enumerate(tiles)]
                    log(s, "", "import", {"slide": slide.id, "tiles": len(tiles)})
                else:
                    row.path = slide.path
                added.append(row is None)
            s.flush()  # tiles refer to slides
            s.add_all(rows)
            return added

    def slides(self) -> list[SlideRecord]:
        """All slides, by their first tile in the pool."""
        first = select(TileRow.slide, func.min(TileRow.position).label("first")).group_by(TileRow.slide).subquery()
        query = select(SlideRow).outerjoin(first, first.c.slide == SlideRow.id).order_by(first.c.first, SlideRow.id)
        with self._database.reading() as s:
            return [record_of(SlideRecord, r) for r in s.scalars(query)]

    def tiles(self) -> list[Tile]:
        """The pool; positions are places in this list."""
        with self._database.reading() as s:
            return [tile_of(r) for r in s.scalars(select(TileRow).order_by(TileRow.position))]

    def all(self) -> list[RoundRecord]:
        """All rounds, ascending."""
        with self._database.reading() as s:
            return [round_of(r) for r in s.scalars(select(RoundRow).order_by(RoundRow.number))]

    def newest(self) -> RoundRecord | None:
        """The last round, None before the first."""
        with self._database.reading() as s:
            row = newest_round(s)
            return None if row is None else round_of(row)

    def last(self) -> int:
        """Number of the last round, -1 before the first."""
        with self._database.reading() as s:
            number = last_number(s)
            return -1 if number is None else number

    def propose(self, number: int, strategy: str, picks: Sequence[PickRecord], drafts: Sequence[NewDraft] = ()) -> None:
        """Begin a round with its selection (empty for round 0) and the model's proposals for it.

        Raises:
            SettingsError: The round before is not fitted yet, or the round is there already.
        """
        with self._database.writing() as s:
            last = s.scalars(select(RoundRow).order_by(RoundRow.number.desc()).limit(1).with_for_update()).first()
            expected = 0 if last is None else last.number + 1
            if number != expected:
                raise SettingsError(f"round {number} cannot begin: the next one is {expected}")
            if last is not None and _ORDER.index(RoundState(last.state)) < _ORDER.index(RoundState.FITTED):
                raise SettingsError(f"round {last.number} is not fitted yet", fix="Run: aczerots fit")
            new = {"number": number, "state": RoundState.PROPOSED, "strategy": strategy, "created": now_utc()}
            s.add(RoundRow(**new, model=None, metrics=None, seconds={}))
            s.flush()
            s.add_all(_pick_row(number, p) for p in picks)
            s.flush()
            open_readings(s, number, picks)
            s.add_all(_draft_row(number, d) for d in drafts)
            log(s, "", "propose", {"round": number, "strategy": strategy, "tiles": len(picks)})

    def advance(
        self,
        number: int,
        state: RoundState,
        *,
        model: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        seconds: Mapping[str, float] | None = None,
    ) -> None:
        """Move a round forward, with its results and what the stage took; the same state again keeps the newer ones.

        Raises:
            SettingsError: No such round, or it would move backwards.
        """
        with self._database.writing() as s:
            row = s.get(RoundRow, number, with_for_update=True)
            if row is None:
                raise SettingsError(f"there is no round {number}", fix="Run: aczerots select")
            if _ORDER.index(state) < _ORDER.index(RoundState(row.state)):
                raise SettingsError(f"round {number} is {row.state} and cannot go back to {state}")
            row.state = state
            row.seconds = {**row.seconds, **(seconds or {})}
            row.model = row.model if model is None else model
            row.metrics = row.metrics if metrics is None else without_nan(metrics)
            log(s, "", str(state), {"round": number})

    def picks(self, number: int | None = None) -> list[PickRecord]:
        """Chosen tiles by round and rank; of one round if ``number`` is given."""
        query = select(PickRow).order_by(PickRow.round, PickRow.rank)
        if number is not None:
            query = query.where(PickRow.round == number)
        with self._database.reading() as s:
            return [record_of(PickRecord, r) for r in s.scalars(query)]

    def draft(self, tile: int) -> Draft | None:
        """The newest draft of a tile, None if there is none."""
        with self._database.reading() as s:
            row = newest_draft(s, tile)
            return None if row is None else record_of(Draft, row)

    def drafts(self, tiles: Iterable[int]) -> dict[int, Draft]:
        """The newest draft of each of some tiles; tiles without one are left out."""
        found: dict[int, Draft] = {}
        with self._database.reading() as s:
            for some in chunks(tiles):
                last = select(func.max(DraftRow.id)).where(DraftRow.tile.in_(some)).group_by(DraftRow.tile)
                for row in s.scalars(select(DraftRow).where(DraftRow.id.in_(last))):
                    found[row.tile] = record_of(Draft, row)
        return found


def _tile_row(position: int, tile: Tile) -> TileRow:
    box, window = tile.box, tile.window
    return TileRow(
        position=position,
        slide=tile.slide,
        x=box.x,
        y=box.y,
        width=box.width,
        height=box.height,
        window_x=window.x,
        window_y=window.y,
        window_side=window.width,
        size=tile.size,
        mpp=tile.mpp,
    )


def _draft_row(number: int, draft: NewDraft) -> DraftRow:
    changed = {"mask": encode_mask(draft.mask), "geometry": dict(draft.geometry)}
    return DraftRow(**{**vars(draft), **changed}, round=number, created=now_utc())


def _pick_row(number: int, pick: PickRecord) -> PickRow:
    changed = {"round": number, "score": float(pick.score), "components": without_nan(pick.components)}
    return PickRow(**{**vars(pick), **changed})
