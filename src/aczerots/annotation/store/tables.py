"""The tables. A change here needs a migration beside it and a new :data:`SCHEMA`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    Table,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA = "0002"
"""Newest revision, which this version of the program reads and writes."""

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names of constraints, the same on every database, so that migrations can refer to them."""


class Utc(TypeDecorator[datetime]):
    """A moment: aware in the program, naive UTC in the database."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware to naive UTC."""
        del dialect
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Naive UTC to aware."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """Base class of the tables."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {dict[str, Any]: JSON(none_as_null=True), datetime: Utc, bytes: LargeBinary}  # noqa: RUF012  # SQLAlchemy's own form


class FactRow(Base):
    """A named JSON value."""

    __tablename__ = "facts"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]


class SlideRow(Base):
    """A slide of the project."""

    __tablename__ = "slides"
    id: Mapped[str] = mapped_column(primary_key=True)
    path: Mapped[str]
    fingerprint: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    mpp: Mapped[float | None]


class TileRow(Base):
    """A tile of the pool; its position is that in the pool, 0, 1, ... without gaps."""

    __tablename__ = "tiles"
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    slide: Mapped[str] = mapped_column(ForeignKey("slides.id"))
    x: Mapped[int]
    y: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    window_x: Mapped[int]
    window_y: Mapped[int]
    window_side: Mapped[int]
    size: Mapped[int]
    mpp: Mapped[float | None]
    __table_args__ = (UniqueConstraint("slide", "x", "y", "width", "height"),)


class RoundRow(Base):
    """One select-annotate-fit pass."""

    __tablename__ = "rounds"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str]
    strategy: Mapped[str]
    created: Mapped[datetime]
    model: Mapped[str | None]
    metrics: Mapped[dict[str, Any] | None]
    seconds: Mapped[dict[str, Any]]


class PickRow(Base):
    """A chosen tile with its score components."""

    __tablename__ = "selections"
    round: Mapped[int] = mapped_column(ForeignKey("rounds.number"), primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True)
    tile: Mapped[int] = mapped_column(ForeignKey("tiles.position"))
    score: Mapped[float]
    components: Mapped[dict[str, Any]]
    readings: Mapped[int]
    __table_args__ = (UniqueConstraint("round", "tile"),)


class OpenReadingRow(Base):
    """A reading of a chosen tile that nobody has answered; gone with the answer, back when it is withdrawn."""

    __tablename__ = "openings"
    round: Mapped[int] = mapped_column(ForeignKey("rounds.number"), primary_key=True)
    reading: Mapped[int] = mapped_column(primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True)
    tile: Mapped[int] = mapped_column(ForeignKey("tiles.position"))
    __table_args__ = (UniqueConstraint("round", "tile", "reading"),)


class LeaseRow(Base):
    """A tile leased to a user."""

    __tablename__ = "leases"
    round: Mapped[int] = mapped_column(ForeignKey("rounds.number"), primary_key=True)
    tile: Mapped[int] = mapped_column(ForeignKey("tiles.position"), primary_key=True)
    reading: Mapped[int] = mapped_column(primary_key=True)
    user: Mapped[str] = mapped_column("holder")
    expires: Mapped[datetime]


class DraftRow(Base):
    """The model's proposal for a tile."""

    __tablename__ = "drafts"
    id: Mapped[int] = mapped_column(primary_key=True)
    tile: Mapped[int] = mapped_column(ForeignKey("tiles.position"), index=True)
    round: Mapped[int] = mapped_column(ForeignKey("rounds.number"))
    mask: Mapped[bytes]
    geometry: Mapped[dict[str, Any]]
    model: Mapped[str]
    created: Mapped[datetime]


class AnswerRow(Base):
    """What somebody said about a tile; rows are added and never changed."""

    __tablename__ = "answers"
    id: Mapped[int] = mapped_column(primary_key=True)
    tile: Mapped[int] = mapped_column(ForeignKey("tiles.position"))
    round: Mapped[int] = mapped_column(ForeignKey("rounds.number"), index=True)
    reading: Mapped[int]
    author: Mapped[str]
    created: Mapped[datetime]
    tool: Mapped[str]
    kind: Mapped[str]
    version: Mapped[int]
    based_on: Mapped[int]
    mask: Mapped[bytes | None]
    geometry: Mapped[dict[str, Any] | None]
    comment: Mapped[str]
    seconds: Mapped[float]
    draft: Mapped[int | None] = mapped_column(ForeignKey("drafts.id"))
    pixels: Mapped[dict[str, Any]]
    reverts_to: Mapped[int | None]
    key: Mapped[str] = mapped_column("act", unique=True)
    __table_args__ = (UniqueConstraint("tile", "reading", "version"),)


class RefusedRow(Base):
    """An answer that came too late, kept."""

    __tablename__ = "refused_answers"
    id: Mapped[int] = mapped_column(primary_key=True)
    tile: Mapped[int] = mapped_column(ForeignKey("tiles.position"))
    round: Mapped[int]
    reading: Mapped[int]
    author: Mapped[str]
    created: Mapped[datetime]
    tool: Mapped[str]
    kind: Mapped[str]
    based_on: Mapped[int]
    newest: Mapped[int]
    mask: Mapped[bytes | None]
    geometry: Mapped[dict[str, Any] | None]
    comment: Mapped[str]
    seconds: Mapped[float]
    key: Mapped[str] = mapped_column("act", unique=True)


class SketchRow(Base):
    """Unfinished work of a user on a tile."""

    __tablename__ = "sketches"
    user: Mapped[str] = mapped_column("author", primary_key=True)
    tile: Mapped[int] = mapped_column(ForeignKey("tiles.position"), primary_key=True)
    based_on: Mapped[int]
    content: Mapped[dict[str, Any]]
    saved: Mapped[datetime]


class UserRow(Base):
    """Somebody who may annotate; of the token only the hash is kept."""

    __tablename__ = "users"
    name: Mapped[str] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    created: Mapped[datetime]
    active: Mapped[bool]


class EventRow(Base):
    """An entry of the audit trail."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True)
    time: Mapped[datetime]
    user: Mapped[str] = mapped_column("author")
    what: Mapped[str]
    about: Mapped[dict[str, Any]]
    __table_args__ = (Index(None, "what"),)


def table(row: type[Base]) -> Table:
    """The plain table of a row class, for statements that are quicker without the ORM."""
    found = row.__table__
    assert isinstance(found, Table)
    return found
