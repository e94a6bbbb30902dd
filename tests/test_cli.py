"""The command line as a user meets it: a whole run, resuming, predicting, and every kind of bad input."""

import contextlib
import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml
from filelock import FileLock
from PIL import Image

from aczerots.cli.app import main
from aczerots.cli.options import Embedding, Learning, Limits
from aczerots.config import SimulateSettings
from aczerots.datasets.locate import locate_dataset
from aczerots.project.settings import make_settings
from aczerots.slides.base import Box
from tests.patience import PATIENCE, wait_until
from tests.quick import shorten_fits

SMALL = ["--tile-size", "64", "--rounds", "2", "--initial", "0.3", "--budget", "0.3"]
UNSEEN = "fibrous stroma"


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder dataset of six phantom slides of 128 pixels, four of them the pool."""
    folder = tmp_path_factory.mktemp("data") / "small"
    source = locate_dataset("phantom:6,size=128,seed=5")
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    rows = ["image,split"]
    for i, sample in enumerate(source.samples):
        box = Box(0, 0, 128, 128)
        Image.fromarray(sample.slide.read(box, (128, 128))).save(folder / "images" / f"s{i}.png")
        Image.fromarray(sample.truth.read(box, (128, 128))).save(folder / "masks" / f"s{i}.png")
        rows.append(f"s{i},{'train' if i < 4 else 'test'}")
    classes = [{"name": c.name, "color": list(c.color)} for c in source.taxonomy.classes]
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"name": "small", "classes": classes}))
    (folder / "split.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACZEROTS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def run(*arguments: object) -> int:
    """Exit code of the command in this process."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


@pytest.fixture(scope="session")
def finished(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a finished run."""
    base = tmp_path_factory.mktemp("runs")
    os.environ["ACZEROTS_CACHE"] = str(base / "cache")
    out = base / "first"
    assert run("simulate", f"folder:{dataset}", "--unseen", UNSEEN, "--out", out, *SMALL) == 0
    return out


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_run_leaves_everything_that_is_promised(finished: Path):
    rows = table(finished / "metrics.csv")
    head = ["round", "labelled_tiles", "labelled_fraction", "pacc", "miou_seen", "miou_unseen", "hiou"]
    assert list(rows[0])[:7] == head
    assert f"iou:{UNSEEN}" in rows[0]
    assert [r["round"] for r in rows] == ["0", "1", "2"]
    assert [r["labelled_tiles"] for r in rows] == ["0", "5", "10"]
    picks = table(finished / "selections.csv")
    assert len({p["tile"] for p in picks}) == 10
    assert {"uncertainty", "diversity", "coverage", "score", "rank", "round"} <= set(picks[0])
    facts = json.loads((finished / "run.json").read_text())
    assert facts["complete"]
    assert facts["settings"]["unseen"] == [UNSEEN]
    assert 0 <= facts["full_label"]["hiou"] <= 1
    assert {"open", "select", "fit", "evaluate"} <= facts["seconds"].keys()
    page = (finished / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert UNSEEN in page
    assert (finished / "model.safetensors").stat().st_size > 1000


@pytest.mark.slow
def test_the_same_command_again_does_nothing_and_says_the_same(
    dataset: Path, finished: Path, capsys: pytest.CaptureFixture[str]
):
    before = (finished / "metrics.csv").read_bytes()
    assert run("simulate", f"folder:{dataset}", "--unseen", UNSEEN, "--out", finished, *SMALL, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [r["labelled_tiles"] for r in rows] == [0, 5, 10]
    assert (finished / "metrics.csv").read_bytes() == before


@pytest.mark.slow
def test_another_run_is_not_mixed_into_the_same_folder(
    dataset: Path, finished: Path, capsys: pytest.CaptureFixture[str]
):
    assert run("simulate", f"folder:{dataset}", "--unseen", UNSEEN, "--out", finished, *SMALL, "--seed", 9) == 1
    assert "seed 0 (now 9)" in capsys.readouterr().err


def test_a_second_run_is_kept_out_while_the_first_is_at_work(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with FileLock(tmp_path / ".lock"):
        assert run("simulate", f"folder:{dataset}", "--unseen", UNSEEN, "--out", tmp_path, *SMALL) == 1
    assert f"{tmp_path}: another process is at work in this folder. Wait for it" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


@pytest.mark.slow
def test_what_a_run_measures_is_what_predict_delivers(dataset: Path, finished: Path, tmp_path: Path):
    """Metrics worked out from the masks that ``predict`` writes are those of the last round, to the last digit."""
    images = [dataset / "images" / f"s{i}.png" for i in (4, 5)]
    assert run("predict", finished / "model.safetensors", *images, "--out", tmp_path) == 0
    said = np.stack([np.array(Image.open(tmp_path / f"{image.stem}.mask.png")) for image in images])
    truth = np.stack([np.array(Image.open(dataset / "masks" / image.name)) for image in images])
    last = table(finished / "metrics.csv")[-1]
    assert float(last["pacc"]) == pytest.approx((said == truth).mean(), abs=1e-6)
    names = [c["name"] for c in yaml.safe_load((dataset / "dataset.yaml").read_text())["classes"]]
    for label, name in enumerate(names):
        union = ((said == label) | (truth == label)).sum()
        if union:
            iou = ((said == label) & (truth == label)).sum() / union
            assert float(last[f"iou:{name}"]) == pytest.approx(iou, abs=1e-6)


@pytest.mark.slow
def test_a_run_does_not_go_on_over_changed_images(
    dataset: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.copytree(dataset, tmp_path / "data")
    shutil.copytree(finished, tmp_path / "run")
    shutil.copy(dataset / "images" / "s1.png", tmp_path / "data" / "images" / "s0.png")
    before = (tmp_path / "run" / "metrics.csv").read_bytes()
    # The run is of the folder it was made from: only the place of the images differs.
    with sqlite3.connect(tmp_path / "run" / "run.db") as database:
        moved = str(tmp_path / "data")
        database.execute("UPDATE facts SET value = replace(value, ?, ?)", (str(dataset), moved))
    arguments = ["--unseen", UNSEEN, "--out", tmp_path / "run", *SMALL]
    assert run("simulate", f"folder:{tmp_path / 'data'}", *arguments) == 1
    assert "pool changed since this run began" in capsys.readouterr().err
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(("part", "name"), [("masks", "s0.png"), ("masks", "s5.png"), ("images", "s5.png")])
def test_a_run_does_not_go_on_over_changed_masks_or_test_images(
    part: str, name: str, dataset: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.copytree(dataset, tmp_path / "data")
    shutil.copytree(finished, tmp_path / "run")
    shutil.copy(dataset / part / "s1.png", tmp_path / "data" / part / name)
    arguments = [f"folder:{tmp_path / 'data'}", "--unseen", UNSEEN, "--out", tmp_path / "run", *SMALL]
    with sqlite3.connect(tmp_path / "run" / "run.db") as database:
        database.execute("UPDATE facts SET value = replace(value, ?, ?)", (str(dataset), str(tmp_path / "data")))
    assert run("simulate", *arguments) == 1
    assert f"{'masks' if part == 'masks' else 'test'} changed since this run began" in capsys.readouterr().err
    # A run of a version that kept no hash of them goes on; from then on they are watched.
    with sqlite3.connect(tmp_path / "run" / "run.db") as database:
        (text,) = database.execute("SELECT value FROM facts WHERE key = 'hashes'").fetchone()
        old = {k: v for k, v in json.loads(text).items() if k not in {"masks", "test"}}
        database.execute("UPDATE facts SET value = ? WHERE key = 'hashes'", (json.dumps(old),))
    assert run("simulate", *arguments) == 0
    shutil.copy(dataset / part / name, tmp_path / "data" / part / name)
    assert run("simulate", *arguments) == 1


def test_classes_without_a_pixel_are_said(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shutil.copytree(dataset, tmp_path / "data")
    for i in range(6):
        binary = np.repeat(np.uint8([0, 255]), 64 * 128).reshape(128, 128)
        Image.fromarray(binary).save(tmp_path / "data" / "masks" / f"s{i}.png")
    (tmp_path / "data" / "dataset.yaml").write_text("name: x\nclasses: [{name: tissue}, {name: tumor}]")
    arguments = ["simulate", f"folder:{tmp_path / 'data'}", "--out", tmp_path / "out", *SMALL, "--rounds", 0]
    assert run(*arguments) == 0
    assert "no mask has a pixel of tumor; 50 % of all pixels have no class" in capsys.readouterr().err
    (tmp_path / "data" / "dataset.yaml").write_text("name: x\nclasses: [{name: rest, void: true}, {name: tumor}]")
    assert run(*arguments, "--out", tmp_path / "other") == 1
    assert "no pixel of the masks has a class" in capsys.readouterr().err


def test_a_run_of_an_older_version_is_refused_in_one_sentence(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with sqlite3.connect(tmp_path / "run.db") as database:
        database.execute("CREATE TABLE annotations (id INTEGER PRIMARY KEY)")
    assert run("simulate", f"folder:{dataset}", "--unseen", UNSEEN, "--out", tmp_path, *SMALL) == 1
    assert "an older version began this run, and this one cannot go on with it" in capsys.readouterr().err


@pytest.fixture(scope="session")
def quickly_finished(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a finished run whose fits took three steps."""
    out = tmp_path_factory.mktemp("quick") / "run"
    with pytest.MonkeyPatch.context() as patch:
        shorten_fits(patch)
        assert run("simulate", f"folder:{dataset}", "--unseen", UNSEEN, "--out", out, *SMALL) == 0
    return out


@pytest.mark.slow
@pytest.mark.usefixtures("short_fits")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_resumes_and_ends_with_the_same_numbers(
    how: signal.Signals, dataset: Path, quickly_finished: Path, tmp_path: Path, repository: Path
):
    out = tmp_path / "killed"
    arguments = ["simulate", f"folder:{dataset}", "--unseen", UNSEEN, "--out", str(out), *SMALL]
    command = [sys.executable, "-m", "tests.quick", *arguments]
    # A shell that runs the tests in the background makes its children ignore Ctrl-C; a user's does not.
    asked = signal.signal(signal.SIGINT, signal.SIG_DFL)
    hang = os.environ | {"HANG_AT": f"{out / 'metrics.csv'}:3"}  # after two rows and the head
    process = subprocess.Popen(command, cwd=repository, env=hang, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, asked)
    rows = out / "metrics.csv"
    wait_until(lambda: rows.exists() and len(table(rows)) >= 2, lambda: process.poll() is None)
    process.send_signal(how)
    message = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == (-how if how is signal.SIGKILL else 130)
    assert "Traceback" not in message
    assert how is signal.SIGKILL or "the same command goes on" in message
    assert not (out / "run.json").exists()
    assert run(*arguments) == 0
    for name in ("metrics.csv", "selections.csv"):
        assert (out / name).read_bytes() == (quickly_finished / name).read_bytes()


@pytest.mark.slow
def test_predict_writes_a_mask_and_an_overlay_per_image(
    dataset: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    images = sorted((dataset / "images").glob("s[45].png"))
    assert run("predict", finished / "model.safetensors", *images, "--out", tmp_path / "p", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [r["image"] for r in rows] == ["s4.png", "s5.png"]
    with Image.open(tmp_path / "p" / "s4.mask.png") as mask, Image.open(tmp_path / "p" / "s4.overlay.png") as overlay:
        assert mask.mode == "P"
        assert mask.size == overlay.size == (128, 128)
        share = np.bincount(np.asarray(mask).ravel(), minlength=9) / 128**2
    assert list(rows[0].values())[1:] == pytest.approx(share.tolist())


@pytest.mark.slow
def test_predict_reports_a_broken_image_and_finishes_the_others(
    dataset: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    broken = tmp_path / "broken.png"
    broken.write_bytes((dataset / "images" / "s4.png").read_bytes()[:500])
    assert run("predict", finished / "model.safetensors", broken, dataset / "images" / "s5.png", "--out", tmp_path) == 1
    assert "broken.png" in capsys.readouterr().err
    assert (tmp_path / "s5.mask.png").exists()
    assert not (tmp_path / "broken.mask.png").exists()


@pytest.mark.slow
def test_evaluate_agrees_with_the_last_row_of_the_run(
    dataset: Path, finished: Path, capsys: pytest.CaptureFixture[str]
):
    assert run("evaluate", finished / "model.safetensors", f"folder:{dataset}", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    last = table(finished / "metrics.csv")[-1]
    for name in ("pacc", "miou_seen", "miou_unseen", "hiou"):
        assert found[name] == pytest.approx(float(last[name]), rel=1e-4)


@pytest.mark.slow
def test_full_draws_the_whole_pool_and_agrees_with_the_line_of_the_run(dataset: Path, finished: Path, tmp_path: Path):
    full = tmp_path / "full"
    assert run("simulate", f"folder:{dataset}", "--unseen", UNSEEN, "--out", full, "--tile-size", 64, "--full") == 0
    rows = table(full / "metrics.csv")
    assert [r["labelled_fraction"] for r in rows] == ["0", "1"]
    line = json.loads((finished / "run.json").read_text())["full_label"]["hiou"]
    assert float(rows[-1]["hiou"]) == pytest.approx(line, rel=1e-4)
    assert run("report", finished, full, "--out", tmp_path / "both.html") == 0
    assert "small" in (tmp_path / "both.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["paper", "random", "entropy"])
def test_every_strategy_runs_and_the_pool_may_run_out(
    strategy: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = ["--tile-size", 128, "--rounds", 3, "--initial", 0.5, "--budget", 0.6, "--preset", "zeroshot"]
    assert run("simulate", f"folder:{dataset}", "--out", tmp_path, "--strategy", strategy, *options) == 0
    said = capsys.readouterr().err
    assert "asked for 2 tiles" in said or "no tile left" in said
    assert [r["labelled_tiles"] for r in table(tmp_path / "metrics.csv")] == ["0", "2", "4"]


@pytest.mark.slow
@pytest.mark.usefixtures("short_fits")
def test_the_paper_preset_runs(dataset: Path, tmp_path: Path):
    options = ["--tile-size", 64, "--rounds", 1, "--initial", 0.1, "--preset", "paper", "--strategy", "paper"]
    assert run("simulate", f"folder:{dataset}", "--unseen", UNSEEN, "--out", tmp_path, *options) == 0
    assert len(table(tmp_path / "metrics.csv")) == 2


def spoil_size(folder: Path) -> None:
    Image.new("L", (64, 128)).save(folder / "masks" / "s1.png")


def spoil_id(folder: Path) -> None:
    Image.new("L", (128, 128), 77).save(folder / "masks" / "s1.png")


def spoil_image(folder: Path) -> None:
    path = folder / "images" / "s1.png"
    path.write_bytes(path.read_bytes()[:300])


def spoil_pool(folder: Path) -> None:
    path = folder / "split.csv"
    path.write_text(path.read_text().replace("train", "test"))


def spoil_drawings(folder: Path) -> None:
    for i in range(4):
        Image.new("L", (128, 128), 255).save(folder / "masks" / f"s{i}.png")


def spoil_yaml(folder: Path) -> None:
    (folder / "dataset.yaml").write_text("name: x\nclasses: [")


@pytest.mark.parametrize(
    ("spoil", "options", "words"),
    [
        (spoil_size, [], ["s1.png", "64", "128"]),
        (spoil_id, [], ["s1.png", "77"]),
        (spoil_image, [], ["s1.png"]),
        (spoil_pool, [], ["pool is empty"]),
        (spoil_drawings, [], ["no pixel of a seen class"]),
        (spoil_yaml, [], ["dataset.yaml", "line"]),
        (None, ["--unseen", "fibrous strom"], ["unknown class 'fibrous strom'", "Did you mean 'fibrous stroma'"]),
        (None, ["--strategy", "best"], ["unknown strategy 'best'", "aczerots"]),
        (None, ["--preset", "best"], ["unknown preset 'best'", "prozs"]),
        (None, ["--backbone", "best"], ["unknown backbone 'best'"]),
        (None, ["--budget", "7"], ["--budget", "7"]),
        (None, ["--text", "poems"], ["--text", "poems"]),
        (None, ["--device", "cuda:77"], ["cuda:77", "not available"]),
        (None, ["--without", "luck"], ["no term 'luck'"]),
    ],
)
def test_bad_input_is_one_clear_error(
    spoil: object,
    options: list[str],
    words: list[str],
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    folder = tmp_path / "data"
    shutil.copytree(dataset, folder)
    if callable(spoil):
        spoil(folder)
    assert run("simulate", f"folder:{folder}", "--out", tmp_path / "out", *SMALL, *options) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert [line for line in error if line.startswith("error: ")] == error[-1:]
    for word in words:
        assert word in error[-1], error[-1]
    assert (callable(spoil) and spoil is spoil_drawings) or not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simulat"], ["Did you mean 'simulate'?", "Usage: ", "--help"]),
        (["segment"], ["No such command 'segment'", "Usage: "]),
        (["simulate"], ["Missing argument 'dataset'", "Usage: ", "simulate"]),
        (["status", "--jsn", "x"], ["--json", "Usage: "]),
    ],
)
def test_wrong_words_show_usage(arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    for word in words:
        assert word in error


def test_all_classes_unseen_is_refused(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    names = [c.name for c in locate_dataset(f"folder:{dataset}").taxonomy.classes]
    options = [x for n in names for x in ("--unseen", n)]
    assert run("simulate", f"folder:{dataset}", "--out", tmp_path / "out", *options) == 1
    assert "all classes are unseen" in capsys.readouterr().err


def test_missing_and_unreadable_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run("simulate", f"folder:{tmp_path / 'nothing'}", "--out", tmp_path / "out") == 1
    assert "nothing" in capsys.readouterr().err
    assert run("predict", tmp_path / "no.safetensors", tmp_path / "x.png", "--out", tmp_path / "out") == 1
    assert "no.safetensors" in capsys.readouterr().err


def test_usage_errors_are_one_line(capsys: pytest.CaptureFixture[str]):
    assert run("simulate") == 2
    assert run("simulate", "folder:x", "--out", "y", "--nonsense") == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "--nonsense" in error


@pytest.mark.slow
@pytest.mark.usefixtures("short_fits")
def test_a_full_disk_is_one_clear_error_and_saved_rounds_stay(dataset: Path, tmp_path: Path, repository: Path):
    """A file-size limit stands in for the full disk: every write beyond it fails as it would there."""
    out = tmp_path / "out"
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY));"
        "sys.argv[1:] = sys.argv[2:]; import runpy; runpy.run_module('tests.quick', run_name='__main__')"
    )
    arguments = ["simulate", f"folder:{dataset}", "--unseen", UNSEEN, "--out", str(out), *SMALL]
    command = [sys.executable, "-c", code, "60000", *arguments]
    small = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert small.returncode == 1
    assert "Traceback" not in small.stderr
    assert small.stderr.strip().splitlines()[-1].startswith("error: ")
    assert not list(out.glob("*.tmp*"))
    assert run(*arguments) == 0


def test_the_options_have_the_defaults_of_the_settings():
    """Of simulated runs and of projects."""
    chosen = asdict(Embedding()) | asdict(Learning()) | asdict(Limits())
    for settings in (SimulateSettings(dataset="phantom:3"), make_settings(classes=[{"name": "a"}])):
        assert {name: getattr(settings, name) for name in chosen} == chosen


def test_version_and_help(capsys: pytest.CaptureFixture[str]):
    from aczerots import __version__

    assert run("--version") == 0
    assert __version__ in capsys.readouterr().out
    assert run("--help") == 0
    assert "simulate" in capsys.readouterr().out


def test_an_output_folder_that_cannot_be_made_is_named(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("")
    assert run("simulate", f"folder:{dataset}", "--out", tmp_path / "file" / "out", *SMALL) == 1
    assert "cannot make the folder" in capsys.readouterr().err


def test_an_interrupt_that_comes_out_as_another_error_is_still_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(**_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(PATIENCE)
        except SystemExit:
            raise RuntimeError("callback failed") from None

    monkeypatch.setattr("aczerots.cli.app.app", broken)
    before = signal.getsignal(signal.SIGTERM)
    assert run("doctor") == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before


def test_work_that_ends_in_spite_of_an_interrupt_is_finished(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def deaf(**_: object) -> None:
        with contextlib.suppress(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(PATIENCE)

    monkeypatch.setattr("aczerots.cli.app.app", deaf)
    assert run("doctor") == 0
    assert not capsys.readouterr().err


def test_an_error_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    def broken(**_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("aczerots.cli.app.app", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["doctor"])
