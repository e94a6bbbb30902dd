"""Tables come up to date from every revision, keep what is in them, and are refused when they are newer."""

import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text
from tests.annotation.first_tables import make_first_tables
from tests.postgres import new_database

from aczerots.annotation.store.schema import MIGRATIONS
from aczerots.annotation.store.store import ProjectStore
from aczerots.annotation.store.tables import SCHEMA, Base
from aczerots.errors import StorageError

REVISIONS = [s.revision for s in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'project.sqlite'}"
    return new_database(request.getfixturevalue("postgres"))


def differences(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


def make(engine: Engine, revision: str) -> None:
    """Tables as a program of that revision left them."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        with Operations.context(MigrationContext.configure(connection)):
            make_first_tables()
        config.attributes["connection"] = connection
        command.stamp(config, "0001")
        command.upgrade(config, revision)


def test_the_program_knows_the_newest_revision():
    assert REVISIONS[0] == "0001"
    assert REVISIONS[-1] == SCHEMA


@pytest.mark.slow
@pytest.mark.parametrize("revision", [None, *REVISIONS])
def test_from_every_revision_to_the_tables_of_this_version(url: str, revision: str | None):
    engine = create_engine(url)
    if revision is not None:
        make(engine, revision)
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO facts (key, value) VALUES ('kept', '{\"a\": 1}')"))
    store = ProjectStore(url)
    assert store.rounds.recall("kept") == (None if revision is None else {"a": 1})
    store.close()
    assert differences(engine) == []
    engine.dispose()
    ProjectStore(url).close()  # and again, with nothing to do


def described(engine: Engine) -> dict[str, Any]:
    """Tables, columns, keys and indexes with their names."""
    facts, found = inspect(engine), {}
    for table in sorted(facts.get_table_names()):
        columns = [(c["name"], str(c["type"]), c["nullable"]) for c in facts.get_columns(table)]
        unique = sorted(str(sorted(u.items(), key=str)) for u in facts.get_unique_constraints(table))
        foreign = sorted((str(f["name"]), f["constrained_columns"]) for f in facts.get_foreign_keys(table))
        indexes = sorted((str(i["name"]), i["column_names"]) for i in facts.get_indexes(table))
        found[table] = sorted(columns), facts.get_pk_constraint(table), unique, foreign, indexes
    return found


def test_a_new_database_has_the_tables_of_a_migrated_one_without_alembic(
    url: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = f"sqlite:///{tmp_path / 'old.sqlite'}"
    if url.startswith("postgres"):
        other = new_database(request.getfixturevalue("postgres"))
    old, new = create_engine(other), create_engine(url)
    make(old, SCHEMA)
    monkeypatch.setitem(sys.modules, "alembic", None)
    for _ in range(2):
        ProjectStore(url).close()
    assert described(new) == described(old)
    assert "openings" in described(new)
    for engine in (old, new):
        engine.dispose()


def test_a_database_with_some_of_the_tables_is_of_another_program(url: str):
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE tiles (position INTEGER PRIMARY KEY, name TEXT)"))
    with pytest.raises(StorageError, match="another program"):
        ProjectStore(url)
    assert inspect(engine).get_table_names() == ["tiles"]
    engine.dispose()


def test_what_was_open_before_the_table_of_openings_is_open_after_it(url: str):
    engine = create_engine(url)
    make(engine, "0001")
    moment = "'2026-03-01 12:00:00'"
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO slides VALUES ('a', 'a.png', 'f', 40, 8, NULL)"))
        for tile in range(4):
            place = f"({tile}, 'a', {8 * tile}, 0, 8, 8, {8 * tile}, 0, 8, 8, NULL)"
            connection.execute(text(f"INSERT INTO tiles VALUES {place}"))
            connection.execute(text(f"INSERT INTO rounds VALUES ({tile}, 'fitted', 's', {moment}, NULL, NULL, '{{}}')"))
        for number, rank, tile, readings in [(1, 1, 2, 1), (1, 2, 0, 1), (2, 1, 0, 2), (2, 2, 1, 1), (2, 3, 3, 1)]:
            pick = f"({number}, {rank}, {tile}, 0.5, '{{}}', {readings})"
            connection.execute(text(f"INSERT INTO selections VALUES {pick}"))
        said = [(2, 1, 0, "drawn", 1), (0, 2, 0, "drawn", 1), (3, 2, 0, "drawn", 1), (3, 2, 0, "withdrawn", 2)]
        for key, (tile, number, reading, kind, version) in enumerate(said):
            facts = f"{tile}, {number}, {reading}, 'ann', {moment}, 'page', '{kind}', {version}, 0"
            rest = f"NULL, NULL, '', 1.0, NULL, '{{}}', NULL, '{key}'"
            connection.execute(text(f"INSERT INTO answers VALUES ({key}, {facts}, {rest})"))
    ProjectStore(url).close()
    with engine.connect() as connection:
        found = connection.execute(text("SELECT round, reading, rank, tile FROM openings ORDER BY 1, 2, 3")).all()
    assert found == [(1, 0, 2, 0), (2, 0, 2, 1), (2, 0, 3, 3), (2, 1, 1, 0)]
    engine.dispose()


def test_a_newer_database_is_refused_and_left_alone(url: str):
    ProjectStore(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match=r"newer version \(schema 9999, here"):
        ProjectStore(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
    engine.dispose()


def test_tables_of_another_program_are_refused_and_left_alone(url: str):
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE answers (question TEXT)"))
    with pytest.raises(StorageError, match="another program"):
        ProjectStore(url)
    assert inspect(engine).get_table_names() == ["answers"]
    engine.dispose()


def fail(*_arguments: object, **_options: object) -> None:
    raise KeyboardInterrupt


def test_making_tables_that_fails_leaves_no_table_behind(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sqlalchemy.sql.ddl.SchemaGenerator.visit_index", fail)
    with pytest.raises(KeyboardInterrupt):
        ProjectStore(url)
    engine = create_engine(url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_a_migration_that_fails_leaves_no_table_behind(url: str, monkeypatch: pytest.MonkeyPatch):
    engine = create_engine(url)
    make(engine, "0001")
    before = inspect(engine).get_table_names()
    monkeypatch.setattr("alembic.operations.Operations.get_bind", fail)
    with pytest.raises(KeyboardInterrupt):
        ProjectStore(url)
    assert inspect(engine).get_table_names() == before
    assert "openings" not in before
    engine.dispose()
