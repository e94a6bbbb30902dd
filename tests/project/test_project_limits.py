"""At most k tiles per slide and per patient in a round of a project."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.project.conftest import CLASSES, write_image

from aczerots.cli.app import main
from aczerots.errors import InputError
from aczerots.project.patients import read_patients


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A project of three slides of four tiles; a and b are of one patient."""
    for i, name in enumerate("abc"):
        write_image(tmp_path / "scans" / f"{name}.png", 128, 128, i)
    table = tmp_path / "patients.csv"
    table.write_text("patient,slide,age\nP1,a,61\nP1,b,61\n,c,\n")
    classes = tmp_path / "classes.yaml"
    classes.write_text(json.dumps({"classes": CLASSES}))
    options = ("--classes", classes, "--tile-size", 64, "--budget", 12, "--strategy", "random", "--patients", table)
    assert run("init", tmp_path / "lab", "--slides", tmp_path / "scans" / "*.png", *options) == 0
    return tmp_path / "lab"


def slides_of(lab: Path, capsys: pytest.CaptureFixture[str], *options: object) -> Counter[str]:
    """Number of tiles per slide of the round that ``select`` proposes."""
    capsys.readouterr()
    assert run("select", lab, "--json", *options) == 0
    found: Any = json.loads(capsys.readouterr().out)
    return Counter(t["tile"].partition("@")[0] for t in found["tiles"])


def test_two_tiles_of_each_slide(lab: Path, capsys: pytest.CaptureFixture[str]):
    assert slides_of(lab, capsys, "--per-slide", 2) == {"a": 2, "b": 2, "c": 2}


def test_three_tiles_of_each_patient_where_c_is_one_of_its_own(lab: Path, capsys: pytest.CaptureFixture[str]):
    found = slides_of(lab, capsys, "--per-patient", 3)
    assert (found["a"] + found["b"], found["c"]) == (3, 3)


def test_the_settings_hold_where_no_option_is_given(lab: Path, capsys: pytest.CaptureFixture[str]):
    settings = lab / "project.yaml"
    settings.write_text(settings.read_text() + "per_slide: 1\n")
    assert slides_of(lab, capsys) == {"a": 1, "b": 1, "c": 1}


def test_a_limit_per_patient_without_patients_is_refused(lab: Path, capsys: pytest.CaptureFixture[str]):
    settings = lab / "project.yaml"
    lines = settings.read_text().splitlines()
    settings.write_text("\n".join(line for line in lines if not line.startswith("patients")) + "\n")
    assert run("select", lab, "--per-patient", 1) != 0
    assert "no patient of these slides is known" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slide,who\na,P1\n", "the column 'patient' is missing"),
        ("slide,patient\na,P1\na,P2\n", "slide 'a' has two patients"),
        ("", "the column 'slide' is missing"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, text: str, words: str):
    file = tmp_path / "patients.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        read_patients(file)


def test_a_missing_table_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        read_patients(tmp_path / "none.csv")


@pytest.mark.slow
def test_simulate_keeps_to_the_limit(tmp_path: Path):
    options = ("--tile-size", 64, "--rounds", 2, "--initial", 0.1, "--budget", 0.9, "--preset", "zeroshot")
    assert run("simulate", "phantom:3,size=128,seed=5", "--out", tmp_path / "run", "--per-slide", 2, *options) == 0
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("labelled_tiles")
    drawn = [int(line.split(",")[column]) for line in lines[1:4]]
    # Two of the three slides are the pool; without the limit all of its tiles would be drawn.
    assert drawn[2] - drawn[1] == 2 * 2
