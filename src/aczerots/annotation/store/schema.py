"""Makes the tables of a new database and brings those of an old one up to this version of the program."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, insert, inspect, text

from aczerots.annotation.store.tables import SCHEMA, Base
from aczerots.errors import StorageError, extra_needed

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 4_210_337
"""Key of the PostgreSQL lock that lets one program at a time change tables."""

_VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Where Alembic looks for the revision of a database; it makes the same table."""


def upgrade(connection: Connection, name: str) -> None:
    """Make the tables, or bring them to :data:`SCHEMA`, within the transaction of ``connection``.

    Only an old database needs Alembic. ``name`` is what messages call the database.

    Raises:
        MissingExtraError: The tables must be changed and Alembic is not installed.
        StorageError: A newer version of the program has written the database, or it holds something else.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    found = revision(connection)
    if found is None:
        _create(connection, name)
    elif found != SCHEMA:
        _migrate(connection, name, found)


def _create(connection: Connection, name: str) -> None:
    if not set(inspect(connection).get_table_names()).isdisjoint(Base.metadata.tables):
        raise StorageError("holds tables of another program", where=name, fix="Give the project a database of its own")
    Base.metadata.create_all(connection)
    _VERSION.create(connection, checkfirst=True)
    connection.execute(insert(_VERSION).values(version_num=SCHEMA))


def _migrate(connection: Connection, name: str, found: str) -> None:
    with extra_needed("project", "a project of an older version"):
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found not in known:
        fix = "Update aczerots to the version that was used last"
        raise StorageError(f"was written by a newer version (schema {found}, here {SCHEMA})", where=name, fix=fix)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def revision(connection: Connection) -> str | None:
    """Revision of the tables; None for a database without any of ours."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    return None if row is None else str(row[0])
