"""Whole experiments on tiny phantoms: results, resuming, failures, worker processes."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from tests.experiment.killed_once import KilledOnce
from tests.quick import shorten_fits

from aczerots.cli.app import main
from aczerots.config import SimulateSettings
from aczerots.engine.local import HereEngine, ProcessEngine
from aczerots.engine.progress import Silent
from aczerots.engine.threads import use_threads
from aczerots.prozs.checkpoint import load_model
from aczerots.simulation.experiment.planned import plan_runs
from aczerots.simulation.experiment.protocol import parse_protocol
from aczerots.simulation.experiment.run import ExperimentJob, run_experiment, run_on
from aczerots.simulation.shared import Sharing
from aczerots.simulation.simulate import simulate

pytestmark = pytest.mark.slow

TINY = """
name = "tiny"
title = "Tiny"
[[datasets]]
name = "phantom"
locator = "phantom:4,size=128"
unseen = [["necrosis"]]
[[grid]]
strategies = ["random", "margin"]
seeds = 1
budgets = [{ initial = 0.25, budget = 0.25, rounds = 2 }]
options = { tile_size = 64 }
"""

# Without training: where only the course of events matters.
UNTRAINED = TINY.replace("seeds = 1", 'seeds = 1\npresets = ["zeroshot"]')


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this module's own, and fits of a few steps in this process: who is fitted to what still shows."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACZEROTS_CACHE", str(folder))
        shorten_fits(patch)
        yield folder


def run(*arguments: object) -> int:
    """Exit code of the command in this process."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a finished experiment."""
    out = tmp_path_factory.mktemp("experiment") / "out"
    outcome = run_experiment(parse_protocol(TINY, "tiny.toml"), out)
    assert outcome.failures == []
    return out


def protocol_file(folder: Path, text: str = UNTRAINED) -> Path:
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


def test_a_run_is_the_one_that_simulate_makes(finished: Path, tmp_path: Path):
    settings = SimulateSettings(
        dataset="phantom:4,size=128", unseen=("necrosis",), strategy="margin", rounds=2, initial=0.25, budget=0.25,
        tile_size=64,
    )  # fmt: skip
    with use_threads(1):
        simulate(settings, tmp_path / "alone")
    (run_folder,) = finished.glob("runs/*/*/margin-*")
    for name in ("metrics.csv", "selections.csv"):
        assert (run_folder / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    records = [json.loads((f / "run.json").read_text()) for f in (run_folder, tmp_path / "alone")]
    assert records[0]["full_label"] == records[1]["full_label"]


def test_what_runs_have_in_common_is_computed_once(finished: Path):
    # Round 1 of both strategies is one model; its row, that of round 0, that of all labels, two rounds 2.
    assert len(list((finished / "shared").glob("*.safetensors"))) == 1
    assert len(list((finished / "shared").glob("*.json"))) == 5
    rows = table(finished / "results.csv")
    scores = {s: [r["hiou"] for r in rows if r["strategy"] == s] for s in ("random", "margin")}
    assert scores["random"][:2] == scores["margin"][:2]
    tiles = {f.name.split("-")[0]: table(f / "selections.csv") for f in finished.glob("runs/*/*/*")}
    assert [t["tile"] for t in tiles["random"]] != [t["tile"] for t in tiles["margin"]]


def test_a_damaged_shared_file_is_computed_again(finished: Path, tmp_path: Path):
    sharing = Sharing(tmp_path)
    (good,) = (finished / "shared").glob("*.safetensors")
    model, card = load_model(good)
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    (tmp_path / "bad.json").write_text("{")
    computed = []
    for name in ("none", "bad", "none", "bad"):
        sharing.model(name, card, lambda name=name: computed.append(f"model {name}") or model)
        assert sharing.row(name, lambda name=name: computed.append(f"row {name}") or {"hiou": 0.5}) == {"hiou": 0.5}
    assert computed == ["model none", "row none", "model bad", "row bad"]


def test_the_same_command_again_runs_nothing(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("run.db")}
    numbers = (finished / "results.csv").read_bytes()
    assert run("experiment", protocol_file(tmp_path, TINY), "--out", finished, "--json") == 0
    done = capsys.readouterr()
    assert "2 runs, 2 finished, nothing to do" in done.err
    assert {Path(p).name for p in json.loads(done.out)["written"]} >= {"results.csv", "index.html", "results.md"}
    assert {p: p.stat().st_mtime_ns for p in finished.rglob("run.db")} == before
    assert (finished / "results.csv").read_bytes() == numbers


def test_an_interrupted_experiment_goes_on(tmp_path: Path):
    out = tmp_path / "out"
    narrow = protocol_file(tmp_path)
    assert run("experiment", narrow, "--out", out, "--strategy", "random") == 0
    assert {r["strategy"] for r in table(out / "results.csv")} == {"random"}
    first = next(out.glob("runs/*/*/random-*/run.json")).stat().st_mtime_ns
    assert run("experiment", narrow, "--out", out) == 0
    assert next(out.glob("runs/*/*/random-*/run.json")).stat().st_mtime_ns == first
    whole = run_experiment(parse_protocol(UNTRAINED, "t"), tmp_path / "whole")
    assert (out / "results.csv").read_bytes() == whole.written[0].read_bytes()


def test_a_dry_run_lists_the_runs_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run("experiment", protocol_file(tmp_path), "--out", tmp_path / "out", "--dry-run", "--seeds", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert "phantom, necrosis unseen, margin, zeroshot, descriptions, seed 2" in lines
    assert "6 runs, 0 finished, 6 to do, about 2 min by a rough guess" in lines[-1]
    assert not (tmp_path / "out").exists()


def test_failing_runs_are_told_and_the_others_finish(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    extra = '[[datasets]]\nname = "gone"\nlocator = "folder:{data}/gone"\n[[grid]]'
    text = UNTRAINED.replace("[[grid]]", extra).replace('"random", "margin"', '"random"')
    out = tmp_path / "out"
    assert run("experiment", protocol_file(tmp_path, text), "--out", out, "--data", tmp_path) == 1
    told = capsys.readouterr().err
    assert "left out: gone, no class unseen" in told
    assert "1 of 2 runs failed" in told
    assert {r["dataset"] for r in table(out / "results.csv")} == {"phantom"}
    assert "1 runs failed" in (out / "index.html").read_text()


def test_a_failure_inside_a_run_does_not_stop_the_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    path = protocol_file(tmp_path)
    first, _ = plan_runs(parse_protocol(UNTRAINED, "t"), None)
    (out / first.folder).parent.mkdir(parents=True)
    (out / first.folder).write_text("a file where a folder should be")
    assert run("experiment", path, "--out", out) == 1
    assert "failed: phantom, necrosis unseen, random, zeroshot, descriptions, seed 0:" in capsys.readouterr().err
    assert {r["strategy"] for r in table(out / "results.csv")} == {"margin"}


def test_a_second_process_is_kept_out_of_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    out.mkdir()
    path = protocol_file(tmp_path)
    with FileLock(out / ".lock"):
        assert run("experiment", path, "--out", out) == 1
    assert f"{out}: another process is at work in this folder. Wait for it" in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == [".lock"]
    assert run("experiment", path, "--out", out) == 0


def test_a_wrong_number_of_processes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run("experiment", protocol_file(tmp_path), "--out", tmp_path / "out", "--jobs", 0) == 1
    assert "--jobs: 0 processes. Ask for at least one" in capsys.readouterr().err


def test_a_run_computes_on_one_thread_here_as_in_a_worker(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(torch, "set_num_threads", _recorded(asked := [], torch.set_num_threads))
    run = plan_runs(parse_protocol(UNTRAINED, "t"), None)[0]
    assert run_on(HereEngine(threads=1), [run], ExperimentJob(tmp_path, cache), Silent()) == []
    assert json.loads((tmp_path / run.folder / "run.json").read_text())["threads"] == 1
    assert asked == [1, before]
    assert torch.get_num_threads() == before


def _recorded(calls: list[int], function: Callable[[int], None]) -> Callable[[int], None]:
    """The function, which also notes what it was called with."""

    def noting(value: int) -> None:
        calls.append(value)
        function(value)

    return noting


def test_processes_give_the_same_numbers_and_a_killed_one_loses_nothing(tmp_path: Path, cache: Path):
    runs = plan_runs(parse_protocol(UNTRAINED, "t"), None)
    job = KilledOnce(ExperimentJob(tmp_path, cache), runs[0].folder, tmp_path / "killed")
    assert run_on(ProcessEngine(["cpu"], threads=1), runs, job, Silent()) == []
    assert (tmp_path / "killed").exists()
    for run in runs:
        with use_threads(1):
            simulate(run.settings, tmp_path / "alone" / run.folder)
        record = json.loads((tmp_path / run.folder / "run.json").read_text())
        assert (record["threads"], record["complete"]) == (1, True)
        for name in ("selections.csv", "metrics.csv"):
            alone = tmp_path / "alone" / run.folder / name
            assert (tmp_path / run.folder / name).read_bytes() == alone.read_bytes()
