"""Whole runs on models from local folders, through the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_clip import save_tiny_clip
from tiny_dino import save_tiny_dino

from aczerots.cli.app import main
from aczerots.prozs.checkpoint import load_model

pytestmark = pytest.mark.slow

DATA = ["phantom:6,size=64", "--unseen", "necrosis"]
SMALL = ["--tile-size", "32", "--rounds", "0"]


def run(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACZEROTS_CACHE", str(tmp_path / "cache"))


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_simulate_with_a_clip_folder(tmp_path: Path):
    backbone = f"hf:{save_tiny_clip(tmp_path / 'clip')}"
    assert not run(
        "simulate", *DATA, "--backbone", backbone, "--out", tmp_path / "o", *SMALL[:2], "--rounds", 1, "--initial", 1
    )
    rows = metrics(tmp_path / "o")
    assert [r["round"] for r in rows] == ["0", "1"]
    assert all(0 <= float(r["hiou"]) <= 1 for r in rows)


def test_method_helper_and_precision_are_recorded_and_used_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    clip, dino = save_tiny_clip(tmp_path / "clip"), save_tiny_dino(tmp_path / "dino", patch=8)
    out = tmp_path / "o"
    chosen = ["--backbone", f"hf:{clip}#qq+kk", "--refine-with", f"hf:{dino}", "--precision", "bf16"]
    assert not run("simulate", *DATA, *chosen, "--out", out, *SMALL)
    settings = json.loads((out / "run.json").read_text())["settings"]
    assert (settings["refine_with"], settings["precision"]) == (f"hf:{dino}", "bf16")
    card = load_model(out / "model.safetensors")[1].backbone
    assert (card.method, card.helper, card.precision, card.stride) == ("qq+kk", f"hf:{dino}", "bf16", 8)
    last = metrics(out)[-1]

    capsys.readouterr()
    assert not run("evaluate", out / "model.safetensors", DATA[0], "--json")
    assert json.loads(capsys.readouterr().out)["pacc"] == pytest.approx(float(last["pacc"]), abs=1e-4)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 40, 3), dtype=np.uint8)).save(tmp_path / "i.png")
    assert not run("predict", out / "model.safetensors", tmp_path / "i.png", "--out", tmp_path / "p", "--mpp", 0.5)
    assert (tmp_path / "p" / "i.mask.png").exists()

    assert run("simulate", *DATA, *chosen[:4], "--out", out, *SMALL) == 1
    assert "precision 'bf16' (now 'fp32')" in capsys.readouterr().err


def test_a_helper_as_the_backbone_says_what_it_is_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    dino = f"hf:{save_tiny_dino(tmp_path / 'dino')}"
    assert run("simulate", *DATA, "--backbone", dino, "--out", tmp_path / "o", *SMALL) == 1
    assert f"--refine-with {dino}" in capsys.readouterr().err
    assert run("simulate", *DATA, "--precision", "fp8", "--out", tmp_path / "o", *SMALL) == 1
    assert "--precision" in capsys.readouterr().err
