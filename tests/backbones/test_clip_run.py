"""A whole run on a CLIP from a local folder, through the command line."""

import csv
from pathlib import Path

import pytest
from tiny_clip import save_tiny_clip

from aczerots.cli import main


def test_simulate_with_a_clip_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ACZEROTS_CACHE", str(tmp_path / "cache"))
    backbone = f"hf:{save_tiny_clip(tmp_path / 'clip')}"
    data = ["phantom:6,size=64", "--unseen", "necrosis"]
    run = ["simulate", *data, "--backbone", backbone, "--out", str(tmp_path / "o")]
    with pytest.raises(SystemExit) as stop:
        main([*run, "--tile-size", "32", "--rounds", "2", "--initial", "0.3"])
    assert not stop.value.code
    with (tmp_path / "o" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["round"] for r in rows] == ["0", "1", "2"]
    assert all(0 <= float(r["hiou"]) <= 1 for r in rows)
