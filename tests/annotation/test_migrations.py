"""Tables come up to date from every revision, keep what is in them, and are refused when they are newer."""

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text
from tests.postgres import new_database

from aczerots.annotation.store.schema import MIGRATIONS
from aczerots.annotation.store.store import ProjectStore
from aczerots.annotation.store.tables import SCHEMA, Base
from aczerots.errors import StorageError

REVISIONS = [s.revision for s in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'project.sqlite'}"
    return new_database(request.getfixturevalue("postgres"))


def differences(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


def make(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_the_program_knows_the_newest_revision():
    assert REVISIONS[0] == "0001"
    assert REVISIONS[-1] == SCHEMA


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


def test_a_migration_that_fails_leaves_no_table_behind(url: str, monkeypatch: pytest.MonkeyPatch):
    def fail(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("alembic.operations.Operations.create_index", fail)
    with pytest.raises(KeyboardInterrupt):
        ProjectStore(url)
    engine = create_engine(url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()
