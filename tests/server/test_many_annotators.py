"""Twenty people at once: nothing is lost, nothing is doubled, on SQLite and on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.annotators import Log, annotate_all, check, run, summary

from tests.postgres import new_database
from tests.server.small_project import SmallProject, serving

pytestmark = pytest.mark.slow

TILES = 80
PEOPLE = 20


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    if request.param == "sqlite":
        return None
    return new_database(request.getfixturevalue("postgres"))


def test_twenty_annotators_lose_and_double_nothing(database: str | None, tmp_path: Path) -> None:
    project = SmallProject(tmp_path, database, slides=2, size=448, tile=64)
    project.propose(0, [])
    project.advance_to(1, list(range(TILES)), draft=False)
    log = Log()
    tokens = {f"annotator {i}": f"token-{i}-of-somebody" for i in range(PEOPLE)}
    with serving(project, tokens) as address:
        seconds = annotate_all(address, tokens, log)
    check(project.store, log, TILES)
    figures = summary(log, seconds)
    assert figures["refused"] == 0
    assert project.store.answers.refused() == []
    assert len({user for user, _, _ in log.answers.values()}) == PEOPLE
    project.store.close()


def test_the_check_sees_a_lost_a_doubled_and_a_changed_answer(tmp_path: Path) -> None:
    project = SmallProject(tmp_path, slides=2, size=200, tile=64)
    project.propose(0, [])
    project.advance_to(1, [0, 1], draft=False)
    log, tokens = Log(), {"ada": "token-of-ada"}
    with serving(project, tokens) as address:
        annotate_all(address, tokens, log)
    check(project.store, log, 2)
    user, label, version = log.answers[0]
    for wrong in ({0: log.answers[0]}, {**log.answers, 0: (user, 1 - label, version)}, {**log.answers, 0: ("x", 0, 1)}):
        with pytest.raises(AssertionError):
            check(project.store, Log(answers=wrong), 2)
    answers = project.store.answers
    answers.undo(1, "ada", based_on=1)
    with pytest.raises(AssertionError, match="has 2 answers"):
        check(project.store, log, 2)
    project.store.close()


def test_a_killed_server_loses_no_acknowledged_answer() -> None:
    figures = run(tiles=40, annotators=6, kills=1, database=None)
    assert (figures["answers"], figures["refused"], figures["kills"]) == (40, 0, 1)
    assert figures["retries"] > 0
