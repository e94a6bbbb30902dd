"""Whole runs through the command line on a folder of images, with random checkpoints."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from layouts import make_folder
from tiny_conch import save_tiny_conch

from aczerots.cli.app import main
from tiny_open_clip import save_tiny

SAVERS: dict[str, Callable[[Path], Path]] = {
    "open_clip": lambda folder: save_tiny("quiltnet", folder),
    "conch": save_tiny_conch,
}


@pytest.mark.parametrize("kind", SAVERS)
def test_simulate(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACZEROTS_CACHE", str(tmp_path / "cache"))
    data, model = make_folder(tmp_path / "data"), SAVERS[kind](tmp_path / "model")
    run = ["simulate", f"folder:{data}", "--backbone", f"{kind}:{model}#qq", "--out", str(tmp_path / "o")]
    with pytest.raises(SystemExit) as stop:
        main([*run, "--tile-size", "32", "--rounds", "1", "--initial", "0.5"])
    assert not stop.value.code
    with (tmp_path / "o" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["round"] for row in rows] == ["0", "1"]
    assert all(0 <= float(row["hiou"]) <= 1 for row in rows)
