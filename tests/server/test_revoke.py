"""A link can be taken back by a command, also while a server runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.annotators import Server, make_project

from aczerots.cli.app import main
from aczerots.project.folder import open_project
from tests.patience import wait_until
from tests.server.small_project import http_get


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_project(tmp_path, 4, None)
    return tmp_path / "project"


@pytest.fixture
def tokens(project: Path) -> dict[str, str]:
    with open_project(project) as opened:
        return {name: opened.store.people.add(name) for name in ("ada", "ben", "eve")}


@pytest.fixture
def address(project: Path) -> Iterator[str]:
    server = Server(project)
    yield server.address
    server.kill()


def annotate(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["annotate", *map(str, arguments)])
    return int(stop.value.code or 0)


@pytest.mark.slow
def test_a_revoked_link_ends_on_a_running_server(
    project: Path, tokens: dict[str, str], address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def status(user: str) -> int:
        return http_get(f"{address}/api/round", headers={"Authorization": f"Bearer {tokens[user]}"}).status_code

    assert [status(user) for user in tokens] == [200, 200, 200]
    assert annotate(project, "--revoke", "ada", "--revoke", "ben") == 0
    assert capsys.readouterr().out == "Revoked: ada, ben. Their links no longer work; their answers are kept.\n"
    wait_until(lambda: status("ada") == status("ben") == 401)
    assert http_get(f"{address}/monai/{tokens['ada']}/info/").status_code == 401
    assert status("eve") == 200


def test_revoking_is_all_or_nothing_and_can_be_taken_back(
    project: Path, tokens: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert annotate(project, "--revoke", "ada", "--revoke", "zoe") == 1
    assert "no user 'zoe'. Users are: ada, ben, eve" in capsys.readouterr().err
    with open_project(project) as opened:
        assert opened.store.people.of_token(tokens["ada"]) is not None
    assert annotate(project, "--revoke", "ada", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"revoked": ["ada"]}
    with open_project(project) as opened:
        people = opened.store.people
        assert people.of_token(tokens["ada"]) is None
        assert people.of_token(people.add("ada")) is not None
        assert people.of_token(tokens["ada"]) is None, "only the new link works"


def test_revoking_and_giving_links_are_two_commands(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert annotate(project, "--revoke", "ada", "--user", "ben") != 0
    assert "--revoke serves nothing" in capsys.readouterr().err
