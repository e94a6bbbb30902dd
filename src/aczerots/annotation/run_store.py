"""Everything that must not be lost, in a SQL database: tiles, rounds, selections, annotations, results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import JSON, ForeignKey, LargeBinary, create_engine, event, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from aczerots.annotation.formats.masks import decode_mask, encode_mask
from aczerots.errors import InputError, StorageError
from aczerots.slides.base import Tile


class RoundState(StrEnum):
    """A round only ever moves forward, one state per transaction."""

    PROPOSED = "proposed"
    ANNOTATING = "annotating"
    FITTED = "fitted"
    EVALUATED = "evaluated"


class _Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON}  # noqa: RUF012  # SQLAlchemy's own form


class _Fact(_Base):
    """A named JSON value: settings, hashes."""

    __tablename__ = "facts"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]


class _TileRow(_Base):
    """A tile of the pool; its position is that in the pool."""

    __tablename__ = "tiles"
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(unique=True)


class _Round(_Base):
    """One select-annotate-fit pass."""

    __tablename__ = "rounds"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str]
    metrics: Mapped[dict[str, Any] | None]
    seconds: Mapped[dict[str, Any]]


class _Pick(_Base):
    """A chosen tile with its score components."""

    __tablename__ = "selections"
    round: Mapped[int] = mapped_column(ForeignKey("rounds.number"), primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True)
    tile: Mapped[int] = mapped_column(ForeignKey("tiles.position"), unique=True)
    score: Mapped[float]
    components: Mapped[dict[str, Any]]


class _Annotation(_Base):
    """A label mask somebody handed in; never changed, only followed by newer ones."""

    __tablename__ = "annotations"
    id: Mapped[int] = mapped_column(primary_key=True)
    tile: Mapped[int] = mapped_column(ForeignKey("tiles.position"), index=True)
    round: Mapped[int] = mapped_column(ForeignKey("rounds.number"))
    author: Mapped[str]
    created: Mapped[datetime]
    mask: Mapped[bytes] = mapped_column(LargeBinary)


class Pick:
    """A chosen tile as stored.

    Attributes:
        round: Round it was chosen for.
        rank: Its place in the batch, from 1.
        tile: Position in the pool.
        score: What it was ranked by.
        components: Score components.
    """

    def __init__(self, row: _Pick) -> None:
        self.round, self.rank, self.tile = row.round, row.rank, row.tile
        self.score, self.components = row.score, dict(row.components)


def _without_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with NaN as None: JSON has no NaN, and PostgreSQL refuses it."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}


class Store:
    """The database of one run or project. Every method is one transaction.

    Args:
        path: SQLite file; made if missing.

    Raises:
        StorageError: The file cannot be opened, or is no database of ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = create_engine(f"sqlite:///{path}")
        event.listen(self._engine, "connect", _durable)
        with self._guard():
            _Base.metadata.create_all(self._engine)

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    def _guard(self) -> _Guard:
        return _Guard(self.path)

    def _session(self) -> Session:
        return Session(self._engine, expire_on_commit=False)

    def remember(self, key: str, value: Mapping[str, Any]) -> None:
        """Set a named JSON value."""
        with self._guard(), self._session() as s, s.begin():
            s.merge(_Fact(key=key, value=dict(value)))

    def recall(self, key: str) -> dict[str, Any] | None:
        """A named JSON value, None if never set."""
        with self._guard(), self._session() as s:
            row = s.get(_Fact, key)
            return None if row is None else dict(row.value)

    def set_tiles(self, tiles: Sequence[Tile]) -> None:
        """Record the pool, or check that it is the recorded one.

        Raises:
            InputError: The images behind this run have changed.
        """
        names = [t.id for t in tiles]
        with self._guard(), self._session() as s, s.begin():
            known = list(s.scalars(select(_TileRow.name).order_by(_TileRow.position)))
            if not known:
                s.add_all(_TileRow(position=i, name=n) for i, n in enumerate(names))
            elif known != names:
                raise InputError(
                    "the pool is not the one this run began with",
                    where=self.path,
                    fix="Use a new output folder",
                )

    def state(self, number: int) -> RoundState | None:
        """State of a round, None if it has not begun."""
        with self._guard(), self._session() as s:
            row = s.get(_Round, number)
            return None if row is None else RoundState(row.state)

    def propose(
        self,
        number: int,
        tiles: Sequence[int],
        score: Sequence[float],
        components: Sequence[Mapping[str, float]],
    ) -> None:
        """Begin a round with its selection (empty for round 0)."""
        with self._guard(), self._session() as s, s.begin():
            s.add(_Round(number=number, state=RoundState.PROPOSED, metrics=None, seconds={}))
            s.flush()
            s.add_all(
                _Pick(
                    round=number,
                    rank=i + 1,
                    tile=int(t),
                    score=float(score[i]),
                    components=dict(components[i]),
                )
                for i, t in enumerate(tiles)
            )

    def annotate(self, number: int, tile: int, mask: NDArray[np.uint8], author: str) -> None:
        """Keep an annotation of a tile: label ids uint8 [size, size] in the frame of the tile's window."""
        row = _Annotation(
            tile=tile,
            round=number,
            author=author,
            created=datetime.now(UTC).replace(tzinfo=None),
            mask=encode_mask(mask),
        )
        with self._guard(), self._session() as s, s.begin():
            s.add(row)
            begun = s.get(_Round, number)
            if begun is not None and begun.state == RoundState.PROPOSED:
                begun.state = RoundState.ANNOTATING

    def advance(
        self,
        number: int,
        state: RoundState,
        *,
        metrics: Mapping[str, Any] | None = None,
        seconds: Mapping[str, float],
    ) -> None:
        """Move a round to ``state``, with its results and what the stage took."""
        with self._guard(), self._session() as s, s.begin():
            row = s.get_one(_Round, number)
            row.state = state
            row.seconds = {**row.seconds, **seconds}
            if metrics is not None:
                row.metrics = _without_nan(metrics)

    def annotations(self, up_to: int) -> dict[int, NDArray[np.uint8]]:
        """Newest label mask of every tile annotated in rounds <= ``up_to``, by tile position ascending."""
        query = select(_Annotation.tile, _Annotation.mask).where(_Annotation.round <= up_to).order_by(_Annotation.id)
        with self._guard(), self._session() as s:
            newest: dict[int, bytes] = {row[0]: row[1] for row in s.execute(query)}
        return {tile: decode_mask(newest[tile]) for tile in sorted(newest)}

    def picks(self) -> list[Pick]:
        """All chosen tiles, by round and rank."""
        with self._guard(), self._session() as s:
            return [Pick(r) for r in s.scalars(select(_Pick).order_by(_Pick.round, _Pick.rank))]

    def results(self) -> list[tuple[int, dict[str, Any], dict[str, float]]]:
        """(number, metrics, seconds per stage) of the evaluated rounds, ascending."""
        query = select(_Round).where(_Round.state == RoundState.EVALUATED).order_by(_Round.number)
        with self._guard(), self._session() as s:
            return [(r.number, dict(r.metrics or {}), dict(r.seconds)) for r in s.scalars(query)]


class _Guard:
    """Turns database errors into one StorageError that names the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SQLAlchemyError):
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise StorageError(
                f"database error: {cause}",
                where=self.path,
                fix="Check space and permissions; what was saved is safe",
            ) from error


def _durable(connection: Any, record: object) -> None:
    """Make every commit reach the disk, and foreign keys count."""
    del record
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
