"""A database opened for the project: transactions that reach the disk, SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from aczerots.annotation.store.commits import SharedCommits
from aczerots.annotation.store.schema import upgrade
from aczerots.errors import MissingExtraError, SettingsError, StorageError

_WAIT = 30
"""Seconds to wait for another process that writes."""


class Database:
    """Connections to one database. Makes the tables, or brings them up to date.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql+psycopg://...``.

    Raises:
        SettingsError: The URL makes no sense or names a kind of database we do not know.
        MissingExtraError: PostgreSQL without its driver.
        StorageError: It cannot be opened, is no database of ours, or a newer version of the program has written it.
    """

    def __init__(self, url: str) -> None:
        self.url = _checked(url)
        self.name = self.url.render_as_string(hide_password=True)
        self._sqlite = self.url.get_backend_name() == "sqlite"
        self._engine = _engine(self.url, self._sqlite)
        self._writer = self._engine.execution_options(writes=True)
        self._shared = SharedCommits(self._writer)
        try:
            with self._guard(), self._writer.begin() as connection:
                upgrade(connection, self.name)
        except BaseException:
            self._engine.dispose()
            raise

    def close(self) -> None:
        """Release all connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that reads."""
        with self._guard(), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self, *, lasting: bool = True) -> Iterator[Session]:
        """A transaction that is on the disk when the block ends, or has left nothing when it raises.

        Args:
            lasting: False where a crash of the database server may forget it, as PostgreSQL allows: nobody waits for
                the disk then.
        """
        with self._guard():
            if self._sqlite:
                with self._shared.writing() as session:
                    yield session
            else:
                with Session(self._writer, expire_on_commit=False) as session, session.begin():
                    if not lasting:
                        session.connection().exec_driver_sql("SET LOCAL synchronous_commit TO OFF")
                    yield session

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Turns database errors into one StorageError that names the database."""
        try:
            yield
        except SQLAlchemyError as error:
            cause = str(error.orig if isinstance(error, DBAPIError) else error).strip().partition("\n")[0]
            fix = "Check space, permissions and server; what was saved is safe"
            raise StorageError(f"database error: {cause}", where=self.name, fix=fix) from error


def now_utc() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def _checked(url: str) -> URL:
    """The URL, if it is of a kind we know."""
    fix = "Use postgresql+psycopg://USER@HOST/NAME, or leave --database out for a file in the project"
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SettingsError("is no database URL", where="--database", fix=fix) from error
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "postgresql+psycopg"}:
        raise SettingsError(f"'{parsed.drivername}' is not supported", where="--database", fix=fix)
    if parsed.drivername == "sqlite" and not parsed.database:
        raise SettingsError("names no file", where="--database", fix=fix)
    return parsed


def _engine(url: URL, sqlite: bool) -> Engine:
    try:
        if not sqlite:
            return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=30)
        engine = create_engine(url, connect_args={"timeout": _WAIT, "check_same_thread": False})
    except (ImportError, NoSuchModuleError) as error:
        raise MissingExtraError("project", f"the database '{url.drivername}'") from error
    event.listen(engine, "connect", _durable)
    event.listen(engine, "begin", _begin)
    return engine


def _durable(connection: Any, record: object) -> None:
    """Make every commit reach the disk and foreign keys count; transactions begin where we say so."""
    del record
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    """Writers take the lock before they read, so that two of them never wait for each other."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
