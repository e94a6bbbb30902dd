"""The commands on a project as a user meets them, from init to a model that predicts."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aczerots.annotation.store.records import RoundState
from aczerots.cli.app import main
from aczerots.datasets.locate import locate_dataset
from aczerots.project.classes import COLORS
from aczerots.project.folder import open_project
from aczerots.slides.base import Box

CLASSES = "tumor nests:seen,fibrous stroma:seen,lymphocyte aggregates,necrosis:unseen"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


pytestmark = pytest.mark.usefixtures("short_fits")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for i, sample in enumerate(locate_dataset("phantom:2,size=128,seed=5").samples):
        Image.fromarray(sample.slide.read(Box(0, 0, 128, 128), (128, 128))).save(folder / f"case{i}.png")
    return folder


def answer_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    capsys.readouterr()
    assert run(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_a_lab_from_init_to_prediction(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    project = tmp_path / "lab"
    options = ("--classes", CLASSES, "--tile-size", 64, "--budget", 2)
    assert run("init", project, "--slides", scans / "case0.png", *options) == 0
    out = capsys.readouterr().out
    assert "1 slide, 4 tiles, 4 classes" in out
    assert f"Next: aczerots select {project}" in out
    added = answer_of(capsys, "import", project, "--slides", scans / "*.png")
    assert added["slides"] == ["case1"]
    assert run("embed", project) == 0
    out = capsys.readouterr().out
    assert "Computed 8 tiles" in out
    assert f"Next: aczerots select {project}" in out
    selected = answer_of(capsys, "select", project, "--strategy", "entropy")
    assert (selected["round"], selected["new"], len(selected["tiles"])) == (1, True, 2)
    assert "aczerots export" in selected["next"]

    files = answer_of(capsys, "export", project)["written"]
    assert {Path(f).name for f in files} == {f"{t['tile'].partition('@')[0]}.geojson" for t in selected["tiles"]}
    assert run("ingest", project, *files, "--author", "ann") == 0
    assert "--accept-drafts takes them" in capsys.readouterr().out
    taken = answer_of(capsys, "ingest", project, *files, "--author", "ann", "--accept-drafts")
    assert sum(f["new_answers"] for f in taken["files"]) == 2
    assert taken["next"] == f"aczerots fit {project}"
    fitted = answer_of(capsys, "fit", project)
    assert (fitted["number"], fitted["tiles"], fitted["left"]) == (1, 2, 0)
    assert 0 <= fitted["miou"] <= 1
    measured = answer_of(capsys, "evaluate", project)
    assert (measured["measured_tiles"], measured["miou_seen"]) == (2, pytest.approx(fitted["miou"]))
    assert run("status", project) == 0
    assert "evaluated" in capsys.readouterr().out
    assert run("evaluate", project) == 0
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines() if "│" in line) < 80, "a measure per line, not per column"
    assert f"Next: aczerots select {project}" in out
    assert run("report", project) == 0
    assert f"then aczerots select {project}" in capsys.readouterr().out
    assert "mIoU of drawn classes" in (project / "report.html").read_text()
    status = answer_of(capsys, "status", project)
    assert (status["slides"], status["tiles"], status["rounds"][1]["answered"]) == (2, 8, 2)
    assert status["next"] == f"aczerots select {project}"

    labels = answer_of(capsys, "export", project, "--format", "png")["written"]
    twin = tmp_path / "twin"
    assert run("init", twin, "--slides", scans / "*.png", *options) == 0
    imported = answer_of(
        capsys, "import", twin, "--masks", *labels[:1], *(x for f in labels[1:] for x in ("--masks", f))
    )
    assert imported["masks"] == 2
    drawn = answer_of(capsys, "import", twin, *(x for f in files for x in ("--drawings", f)))
    assert drawn["drawings"] == 0  # the same drawings as in the masks
    assert run("predict", project, scans / "case0.png", "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / "case0.mask.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "."], "is no project: project.yaml is missing"),
        (["init", "p", "--slides", "no*.png", "--classes", "a"], "no file has such a name"),
        (["init", "p", "--slides", "*.png", "--classes", "a:unseen"], "all classes are unseen"),
        (["init", "p", "--slides", "*.png", "--classes", "a", "--strategy", "best"], "best"),
        (["init", "p", "--slides", "*.png", "--classes", "a", "--database", "mysql://h/n"], "not supported"),
        (["init", "p", "--slides", "*.png", "--classes", "a", "--backbone", "embeded"], "unknown backbone 'embeded'"),
        (["init", "p", "--slides", "*.png", "--classes", "a", "--backbone", "hf:./nowhere"], "nowhere"),
        (["init", "p", "--slides", "*.png", "--classes", "a", "--refine-with", "dino"], "unknown helper 'dino'"),
        (["import", "lab"], "nothing to import"),
        (["export", "lab", "--format", "coco"], "is no format"),
        (["export", "lab"], "round 0 has no tiles"),
        (["export", "lab", "--format", "png"], "nothing is drawn yet"),
        (["ingest", "lab", "case0.png"], "not UTF-8|no GeoJSON"),
        (["ingest", "lab", "case0.geojson"], "there is no such file"),
        (["ingest", "lab", "lab"], "is a folder. Name its files: lab/*.geojson"),
        (["evaluate", "lab"], "no round is fitted to a drawing yet"),
        (["evaluate", "case0.png"], "nothing to measure on"),
        (["predict", "lab", "case0.png", "--out", "o"], "has no model yet"),
        (["report", "lab", "lab"], "a project has a report of its own"),
        (["embed", "lab", "--tile-size", "64"], "stand in its project.yaml"),
    ],
)
def test_mistakes_are_one_clear_line(
    scans: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
):
    monkeypatch.chdir(scans)
    assert run("init", "lab", "--slides", "*.png", "--classes", CLASSES, "--tile-size", 64) == 0
    capsys.readouterr()
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert any(part in error for part in message.split("|"))
    assert not (scans / "p" / "project.yaml").exists()


def test_drawings_of_other_tiles_do_not_end_the_round_that_is_open(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    project, label = tmp_path / "lab", tmp_path / "case0.png"
    options = ("--classes", CLASSES, "--tile-size", 64, "--budget", 2, "--folds", 0)
    assert run("init", project, "--slides", scans / "*.png", *options) == 0
    assert run("fit", project) == 0
    assert "Round 0: nothing is drawn: the zero-shot model, in" in capsys.readouterr().out
    picked = answer_of(capsys, "select", project, "--per-slide", 1)["tiles"]
    assert {t["tile"].partition("@")[0] for t in picked} == {"case0", "case1"}
    Image.fromarray(np.zeros((128, 128), dtype=np.uint8)).save(label)
    assert run("import", project, "--masks", label) == 0
    out = capsys.readouterr().out
    assert "Added 0 slides and 4 drawn tiles" in out
    assert f"Next: aczerots annotate {project}" in out  # the tile of the other slide still waits


def test_colours_are_those_of_the_page():
    page = (Path(__file__).parents[2] / "web" / "src" / "colors.js").read_text()
    safe = re.search(r"const SAFE = \[(.*?)\n\];", page, re.DOTALL)
    assert safe is not None
    numbers = [int(n) for n in re.findall(r"\d+", safe.group(1))]
    assert numbers == [channel for colour in COLORS for channel in colour]


def test_status_says_when_further_rounds_change_little(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    project = tmp_path / "lab"
    assert run("init", project, "--slides", scans / "*.png", "--classes", CLASSES, "--tile-size", 64) == 0
    assert not answer_of(capsys, "status", project)["advice"]["stop"]
    with open_project(project) as opened:
        rounds = opened.store.rounds
        for number in range(3):
            if number:
                rounds.propose(number, "random", [])
            rounds.advance(number, RoundState.FITTED, metrics={"change": 0.01 if number else None, "coverage": 0.5})
    assert run("status", project) == 0
    assert "You may stop here. The last 2 rounds changed the prediction of 1.0 % and 1.0 %" in capsys.readouterr().out
    assert answer_of(capsys, "status", project)["advice"]["stop"]
