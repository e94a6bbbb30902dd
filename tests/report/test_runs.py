"""Run folders are read whole, or refused with file and line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from aczerots.errors import InputError
from aczerots.report.runs import read_run
from tests.report.fake import write_fake_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_fake_run(tmp_path / "run", examples=1, rounds=3, tiles=2)


def _edit(path: Path, line: int, text: str) -> None:
    """Replace a line, counted from 1."""
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines) + "\n")


def test_reads_everything(folder: Path) -> None:
    run = read_run(folder)
    assert [r.round for r in run.rounds] == [0, 1, 2]
    assert run.rounds[2].labelled_fraction == pytest.approx(0.2)
    assert run.zero_shot_hiou == run.rounds[0].hiou
    assert [(s.round, s.rank) for s in run.selections] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert run.selections[0].score is None
    assert run.selections[2].components["coverage:unseen"] is not None
    assert set(run.chosen) == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert [e.name for e in run.examples] == ["case_0"]
    assert run.record.taxonomy.names[2] == "normal lung tissue"


def test_pictures_and_selections_may_be_missing(folder: Path) -> None:
    for name in ("examples", "chosen"):
        shutil.rmtree(folder / name)
    (folder / "selections.csv").unlink()
    run = read_run(folder)
    assert (run.examples, run.selections, dict(run.chosen)) == ((), (), {})


def test_an_empty_cell_is_undefined(folder: Path) -> None:
    head = (folder / "metrics.csv").read_text().splitlines()[0].split(",")
    _edit(folder / "metrics.csv", 2, "0,0,0" + "," * (len(head) - 3))
    first = read_run(folder).rounds[0]
    assert first.hiou is None
    assert set(first.iou.values()) == {None}


@pytest.mark.parametrize(
    ("name", "line", "text", "where", "what"),
    [
        ("metrics.csv", 3, "1,6,0.05", "metrics.csv:3", "columns"),
        ("metrics.csv", 3, "x" + "," * 10, "metrics.csv:3", "whole number"),
        ("metrics.csv", 3, "1,6,much" + "," * 8, "metrics.csv:3", "'much'"),
        ("metrics.csv", 3, "1,6,inf" + "," * 8, "metrics.csv:3", "'inf'"),
        ("metrics.csv", 3, "1,6," + "," * 8, "metrics.csv:3", "'labelled_fraction' is empty"),
        ("metrics.csv", 3, "0,6,0.05" + "," * 8, "metrics.csv:3", "round 0 after round 0"),
        ("metrics.csv", 3, '1,"6', "metrics.csv:4", "not CSV"),
        ("metrics.csv", 1, "round,pacc", "metrics.csv:1", "labelled_tiles"),
        ("selections.csv", 4, "tile,2,1", "selections.csv:4", "columns"),
        ("run.json", 2, "oops", "run.json:2", "not JSON"),
    ],
)
def test_damage_names_file_and_line(folder: Path, name: str, line: int, text: str, where: str, what: str) -> None:
    _edit(folder / name, line, text)
    with pytest.raises(InputError) as caught:
        read_run(folder)
    assert caught.value.where == str(folder / where)
    assert what in caught.value.what


@pytest.mark.parametrize("name", ["run.json", "metrics.csv"])
@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_unreadable_files_are_named(folder: Path, name: str, content: bytes | None) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_run(folder)
    assert caught.value.where == str(folder / name)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", "one"),
        ("taxonomy", {"classes": []}),
        ("taxonomy", {"classes": [{"name": "a"}, {"name": "a"}]}),
        ("full_label", {"hiou": float("nan")}),
    ],
)
def test_wrong_values_in_run_json_name_the_key(folder: Path, key: str, value: object) -> None:
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, key: value}))
    with pytest.raises(InputError, match=key) as caught:
        read_run(folder)
    assert caught.value.where == str(folder / "run.json")
