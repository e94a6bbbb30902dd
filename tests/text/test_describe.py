"""Descriptions from a language model, against a local server that speaks its protocol."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from chat_server import SENTENCES, ChatServer, chat_server, completion, failure

from aczerots.cli.app import main
from aczerots.errors import InputError, SettingsError
from aczerots.text.chat import Endpoint, ask, find_endpoint
from aczerots.text.describe import as_yaml, describe, describe_all, messages_for, read_answer
from aczerots.text.descriptions import bundled_descriptions, read_descriptions

LIST = json.dumps(SENTENCES)
CLASS = "ovarian hilus cells"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ChatServer]:
    with chat_server() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        monkeypatch.setenv("ACZEROTS_LLM_MODEL", "llama")
        monkeypatch.setenv("ACZEROTS_CACHE", str(tmp_path / "cache"))
        yield running


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


def test_an_answer_is_kept_and_only_text_is_sent(server: ChatServer, tmp_path: Path):
    server.answers = [completion(LIST)]
    (first,) = describe_all([CLASS], cache=tmp_path)
    (second,) = describe_all([CLASS], cache=tmp_path)
    assert first == second
    assert first.sentences == SENTENCES
    (request,) = server.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["authorization"] == "Bearer secret"
    assert request["body"].keys() == {"model", "messages"}
    assert request["body"]["model"] == "llama"
    assert request["body"]["messages"] == messages_for(CLASS)
    assert all(isinstance(m["content"], str) for m in request["body"]["messages"])
    (kept,) = (tmp_path / "descriptions").iterdir()
    facts = json.loads(kept.read_text())
    assert (facts["model"], facts["prompt"]) == ("llama", first.origin["prompt"])
    assert "secret" not in kept.read_text()


def test_another_model_is_asked_anew(server: ChatServer, tmp_path: Path):
    server.answers = [completion(LIST), completion(LIST)]
    describe_all([CLASS], cache=tmp_path)
    describe_all([CLASS], cache=tmp_path, model="mistral")
    assert [r["body"]["model"] for r in server.requests] == ["llama", "mistral"]


def test_a_damaged_kept_answer_is_asked_for_again(server: ChatServer, tmp_path: Path):
    server.answers = [completion(LIST), completion(LIST)]
    describe_all([CLASS], cache=tmp_path)
    next((tmp_path / "descriptions").iterdir()).write_text('{"answer": "[')
    assert describe_all([CLASS], cache=tmp_path)[0].sentences == SENTENCES


def test_the_bundle_answers_without_a_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(socket.socket, "connect", None)
    (out,) = describe_all(["Glioblastoma"], cache=tmp_path)
    assert out.sentences == bundled_descriptions("glioblastoma")
    assert out.origin["source"].startswith("PathologyOutlines.com")
    with pytest.raises(SettingsError, match=r"no language model is set up\. Set OPENAI_BASE_URL"):
        describe_all(["Glioblastoma", CLASS], cache=tmp_path)


def test_the_bundle_can_be_passed_over(server: ChatServer, tmp_path: Path):
    server.answers = [completion(LIST)]
    assert describe_all(["fat"], cache=tmp_path, bundle=False)[0].sentences == SENTENCES


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that would be waited; nobody waits."""
    found: list[float] = []
    monkeypatch.setattr("aczerots.text.chat.time", SimpleNamespace(sleep=found.append))
    return found


def test_a_busy_server_is_asked_again_after_the_time_it_says(server: ChatServer, waits: list[float]):
    server.answers = [
        failure(429, "slow down", {"Retry-After": "7"}),
        failure(503, "loading"),
        failure(500, "oops", {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}),
        completion("fine"),
    ]
    assert ask(Endpoint(server.url, "m"), messages_for("x")) == "fine"
    assert waits == [7.0, 2.0, 4.0]
    assert "authorization" not in server.requests[0]["headers"]


def test_a_very_long_pause_is_cut(server: ChatServer, waits: list[float]):
    server.answers = [failure(429, "", {"Retry-After": "86400"}), completion("fine")]
    ask(Endpoint(server.url, "m"), [])
    assert waits == [60.0]


@pytest.mark.parametrize(
    ("answers", "message", "asked"),
    [
        ([failure(401, "Incorrect API key")], r"refuses the key: Incorrect API key\. Set OPENAI_API_KEY", 1),
        ([failure(403, "")], "refuses the key", 1),
        ([failure(404, "model 'm' not found")], "knows no model 'm'.*usually ends in /v1", 1),
        ([failure(400, "bad\nrequest")], "HTTP status 400: bad request", 1),
        ([failure(429, "quota")] * 4, "busy or the quota is used up: quota", 4),
        ([(200, {}, b"<html>hello</html>")], "not answer in the chat-completions form", 1),
        ([(200, {}, b'{"choices": []}')], "not answer in the chat-completions form", 1),
        ([(200, {}, b'{"choices": [{"message": {"content": null, "refusal": "No."}}]}')], r"refuses: No\.", 1),
        ([completion(" ")], "answers with no text", 1),
        ([(200, {"Content-Type": "application/json"}, b"\xff\xfe{")], "chat-completions form", 1),
        ([(302, {"Location": "http://127.0.0.1:9/v1"}, b"")], "HTTP status 302", 1),
    ],
)
@pytest.mark.usefixtures("waits")
def test_a_bad_answer_is_one_clear_error(server: ChatServer, answers: list, message: str, asked: int):
    server.answers = list(answers)
    with pytest.raises(InputError, match=message) as caught:
        ask(Endpoint(server.url, "m", "secret"), messages_for("x"))
    assert len(server.requests) == asked
    assert server.url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_too_slow(server: ChatServer):
    server.may_answer.clear()
    server.answers = [completion("late")]
    with pytest.raises(InputError, match=r"no answer within 0\.2 seconds.*--timeout"):
        ask(Endpoint(server.url, "m", timeout=0.2), [])


def test_a_server_that_is_not_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(InputError, match=r"cannot be reached.*OPENAI_BASE_URL"):
        ask(Endpoint(url, "m"), [])


def hang_up(listener: socket.socket) -> None:
    listener.accept()[0].close()


def test_a_server_that_hangs_up():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=hang_up, args=(listener,))
        thread.start()
        with pytest.raises(InputError, match="cannot be reached"):
            ask(Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}", "m"), [])
        thread.join()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "no language model is set up"),
        ({"OPENAI_BASE_URL": "http://x/v1"}, "no model is named"),
        ({"OPENAI_BASE_URL": "file:///etc/passwd", "ACZEROTS_LLM_MODEL": "m"}, "not the URL of a server"),
        ({"OPENAI_BASE_URL": "localhost:11434", "ACZEROTS_LLM_MODEL": "m"}, "not the URL of a server"),
    ],
)
def test_an_endpoint_needs_a_url_and_a_model(values: dict[str, str], message: str):
    with pytest.raises(SettingsError, match=message):
        find_endpoint(values)


def test_options_win_over_the_environment():
    values = {"OPENAI_BASE_URL": "http://x/v1/", "ACZEROTS_LLM_MODEL": "m", "OPENAI_API_KEY": ""}
    assert find_endpoint(values) == Endpoint("http://x/v1", "m")
    assert find_endpoint(values, "http://y", "n", 3) == Endpoint("http://y", "n", None, 3)


FORMS = {
    "list": LIST,
    "fence": f"Here you are [as asked]:\n```json\n{json.dumps(SENTENCES, indent=1)}\n```\nAnything else?",
    "object": json.dumps({"descriptions": SENTENCES}),
    "thinking": f"<think>Maybe [1, 2] or ['x']?</think>{LIST}",
    "bullets": "Sure.\n" + "\n".join(f"- {s}" for s in SENTENCES),
    "numbers": "\n".join(f'{i}. "{s}"' for i, s in enumerate(SENTENCES, 1)),
    "double": json.dumps([*SENTENCES, SENTENCES[0], "  " + SENTENCES[1]]),
}


@pytest.mark.parametrize("form", FORMS)
def test_answers_of_all_forms_are_read(form: str):
    assert read_answer(FORMS[form]) == SENTENCES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("I cannot help with that.", "0 different sentences"),
        (json.dumps(SENTENCES[:5]), "5 different sentences, not 6"),
        (json.dumps([SENTENCES[0]] * 8), "1 different sentences"),
        (json.dumps([*SENTENCES, "Pink."]), "'Pink.' is no sentence"),
        (json.dumps([*SENTENCES, "no full stop at the end"]), "no sentence"),
        (json.dumps([*SENTENCES, "word " * 41 + "."]), "no sentence"),
    ],
)
def test_nonsense_is_refused(text: str, message: str):
    with pytest.raises(InputError, match=message):
        read_answer(text)


def test_a_model_that_talks_nonsense_is_told_so_once(server: ChatServer, tmp_path: Path):
    server.answers = [completion("Sorry?"), completion(LIST)]
    assert describe(CLASS, find_endpoint({}, server.url, "m"), tmp_path).sentences == SENTENCES
    roles = [m["role"] for m in server.requests[1]["body"]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert "0 different sentences" in server.requests[1]["body"]["messages"][-1]["content"]
    server.answers = [completion("Sorry?"), completion("Sorry!")]
    with pytest.raises(InputError, match="'n' gives no usable description of 'ovarian hilus cells': it has 0"):
        describe(CLASS, find_endpoint({}, server.url, "n"), tmp_path)
    assert len(list((tmp_path / "descriptions").iterdir())) == 1


@pytest.mark.slow
def test_the_command_writes_a_file_that_a_run_reads(server: ChatServer, tmp_path: Path):
    server.answers = [completion(LIST)]
    out = tmp_path / "words.yaml"
    assert run("describe", CLASS, "necrosis", "--out", out, "--new") == 1, "the second answer is missing"
    assert not out.exists()
    server.answers = [completion(json.dumps([s.replace("hilus", "dead") for s in SENTENCES]))]
    assert run("describe", CLASS, "necrosis", "--out", out, "--new") == 0
    group = read_descriptions(out)
    assert [e.name for e in group.classes] == [CLASS, "necrosis"]
    assert group.origins["necrosis"]["model"] == "llama"
    assert group.sources == ("the language model llama",)
    data = ["phantom:4,size=64", "--unseen", "necrosis", "--tile-size", "64", "--rounds", "0"]
    assert run("simulate", *data, "--descriptions", out, "--out", tmp_path / "own") == 0
    assert run("simulate", *data, "--out", tmp_path / "bundle") == 0
    own, bundle = (json.loads((tmp_path / n / "run.json").read_text()) for n in ("own", "bundle"))
    words = {c["name"]: c["descriptions"] for c in own["taxonomy"]["classes"]}
    assert words["necrosis"] == list(group.classes[1].descriptions)
    assert own["hashes"]["descriptions"] != bundle["hashes"]["descriptions"]
    assert own["hashes"]["pool"] == bundle["hashes"]["pool"]
    own_rows, rows = ((tmp_path / n / "metrics.csv").read_text() for n in ("own", "bundle"))
    assert own_rows != rows
    assert run("describe", "fat", "--out", out) == 1, "a file with corrections must not be overwritten"


def test_classes_can_be_pasted_into_a_dataset(server: ChatServer, tmp_path: Path):
    from aczerots.taxonomy import TissueClass

    server.answers = [completion(LIST)]
    content = yaml.safe_load(as_yaml(describe_all([CLASS, "fat"], cache=tmp_path)))
    assert [TissueClass(**c).name for c in content["classes"]] == [CLASS, "fat"]
    assert content["origins"]["fat"]["source"].startswith("Wheater")


def test_the_prompt_is_shown_and_nothing_is_sent(server: ChatServer, capsys: pytest.CaptureFixture[str]):
    assert run("describe", CLASS, "--show-prompt") == 0
    shown = capsys.readouterr().out
    assert all(m["content"] in shown for m in messages_for(CLASS))
    assert server.requests == []


def test_the_command_prints_yaml_or_json(capsys: pytest.CaptureFixture[str]):
    assert run("describe", "fat", "blood") == 0
    assert [c["name"] for c in yaml.safe_load(capsys.readouterr().out)["classes"]] == ["fat", "blood"]
    assert run("describe", "fat", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["descriptions"] == list(bundled_descriptions("fat") or ())
    assert run("describe", "fat", "Fat") == 1
    assert "named twice" in capsys.readouterr().err
