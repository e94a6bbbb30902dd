"""The doctor: what it finds offline, online, and in a broken installation; and that it waits for nobody."""

from __future__ import annotations

import json
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from aczerots.backbones.hub import MODELS, HubAnswer, hub_facts
from aczerots.cli.app import main
from aczerots.cli.doctor import EXTRAS, Check, examine
from aczerots.errors import InputError
from tests.hub_server import HubServer, hub_server
from tests.patience import PATIENCE


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with nothing set up, whose hub is a port where nobody listens."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("ACZEROTS_CACHE", str(tmp_path / "cache"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    return tmp_path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server("vinid/plip", {"config.json": b"{}"}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


def named(checks: list[Check], name: str) -> Check:
    (found,) = [c for c in checks if c.name == name]
    return found


def test_without_a_network_it_says_so_and_does_not_wait():
    checks = examine(PATIENCE)
    assert named(checks, "connection").status == "warning"
    assert "Connection refused" in named(checks, "connection").detail
    assert named(checks, "embedded").status == "ok"
    assert {c.section for c in checks} >= {"machine", "installation", "backbones", "hub", "cache", "text"}


def test_a_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(20)
        silent.settimeout(PATIENCE)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        facts = hub_facts(0.4)
        for _ in MODELS:  # about all models it has asked at the same time
            silent.accept()[0].close()
    assert facts.problem
    assert {m.access for m in facts.models} == {None}


def test_offline_mode_asks_nobody(monkeypatch: pytest.MonkeyPatch, hub: HubServer):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    check = named(examine(), "connection")
    assert (check.status, check.fix) == ("info", "Unset HF_HUB_OFFLINE to download models")
    assert hub.requests == []


def test_free_gated_unknown_and_downloaded_models(monkeypatch: pytest.MonkeyPatch, hub: HubServer, home: Path):
    monkeypatch.setattr("aczerots.backbones.hub.MODELS", {"vinid/plip": "PLIP", "nobody/nothing": "Nothing"})
    assert hub_facts(PATIENCE).models == (
        HubAnswer("vinid/plip", cached=False, gated=False, access="granted"),
        HubAnswer("nobody/nothing", cached=False, gated=None, access="unknown"),
    )
    hub.gated = True
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    facts = hub_facts(PATIENCE)
    assert facts.models[0] == HubAnswer("vinid/plip", cached=False, gated=True, access="refused")
    assert facts.token
    snapshot = home / "hf" / "hub" / "models--vinid--plip" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    assert not hub_facts(PATIENCE).models[0].cached
    (snapshot / "config.json").write_text("{}")
    assert hub_facts(PATIENCE).models[0].cached


def test_a_gated_model_comes_with_what_to_do(monkeypatch: pytest.MonkeyPatch, hub: HubServer):
    monkeypatch.setattr("aczerots.backbones.hub.MODELS", {"vinid/plip": "PLIP"})
    hub.gated = True
    check = named(examine(PATIENCE), "PLIP")
    assert "gated, you have no access" in check.detail
    assert check.fix is not None
    assert f"{hub.url}/vinid/plip" in check.fix
    assert "hf auth login" in check.fix


def test_extras_are_those_of_the_package(repository: Path):
    """The table of extras says what pyproject.toml says, one level of extras within extras unfolded."""
    listed = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    def names(extra: str) -> set[str]:
        parts = [p.split(">")[0].split("=")[0].replace("-", "_") for p in listed[extra]]
        inner = [p[len("aczerots[") : -1] for p in parts if p.startswith("aczerots[")]
        return {p for p in parts if "[" not in p}.union(*(names(i.replace("_", "-")) for i in inner))

    # Of the extra for slides only the part that readers are made of is looked for.
    assert {name.replace("-", "_") for name, _ in EXTRAS["slides"].parts} < names("slides")
    for extra in set(EXTRAS) - {"slides"}:
        assert {name for name, _ in EXTRAS[extra].parts} == names(extra), extra
    assert set(listed) - set(EXTRAS) == {"annotate", "dev", "experiment", "llm", "project", "train"}


def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("aczerots.cli.doctor.find_spec", lambda name: None)
    check = named(examine(0.1), "hf")
    assert check.status == "absent"
    assert check.fix is not None
    assert check.fix.startswith("pip install 'aczerots[hf]'")


def test_what_breaks_everything_ends_with_an_error(monkeypatch: pytest.MonkeyPatch, capsys):
    def broken() -> None:
        raise InputError("is damaged", where="weights.safetensors")

    assert run("doctor", "--timeout", "0.2") == 0
    monkeypatch.setattr("aczerots.backbones.embedded.load_embedded", broken)
    assert run("doctor", "--timeout", "0.2") == 1
    assert "weights.safetensors: is damaged" in capsys.readouterr().out


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, home: Path):
    (home / "file").write_text("")
    monkeypatch.setenv("ACZEROTS_CACHE", str(home / "file" / "cache"))
    assert named(examine(0.1), "writable").status == "broken"


def test_json_has_everything_and_no_secret(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1")
    monkeypatch.setenv("ACZEROTS_LLM_MODEL", "llama3")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert run("doctor", "--json", "--timeout", "0.2") == 0
    out = capsys.readouterr().out
    assert "secret" not in out
    checks = json.loads(out)
    assert {c["status"] for c in checks} <= {"ok", "info", "absent", "warning", "broken"}
    assert next(c for c in checks if c["name"] == "language model")["detail"].endswith("with a key")


def test_the_page_ends_with_what_to_do(capsys):
    assert run("doctor", "--timeout", "0.2") == 0
    out = capsys.readouterr().out
    assert out.index("Machine") < out.index("Backbones") < out.index("What to do")
    assert max(len(line) for line in out.splitlines()) <= 200
