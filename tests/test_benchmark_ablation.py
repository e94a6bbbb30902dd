"""The ablation of ProZS' parts on a small phantom."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from benchmarks import ablation, trials

from aczerots.prozs.presets import PRESETS


@pytest.mark.slow
def test_a_small_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("ACZEROTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ablation, "SETTINGS", {"phantom": ("phantom:6,size=128", (["necrosis"],))})
    monkeypatch.setattr(trials, "TILE", 128)
    out = tmp_path / "out.json"
    words = ["--datasets", "phantom", "--fractions", "1", "--seeds", "2", "--variants", "seen-only", "zeroshot"]
    monkeypatch.setattr(sys, "argv", ["ablation", *words, "--out", str(out)])
    ablation.main()
    first, second = json.loads(out.read_text())
    assert first["unseen"] == first["hiou"] == [0.0, 0.0], "it knows drawn classes only"
    assert len(set(second["seen"])) == 1, "nothing is drawn for it, so that seeds are the same"
    assert second["seen"][0] > 0
    assert [row.split("|")[3].strip() for row in capsys.readouterr().out.splitlines()[2:]] == ["seen-only", "zeroshot"]


def test_variants_change_what_they_say():
    usual = PRESETS["prozs"]
    assert ablation.VARIANTS["prozs"] is usual
    for name in ("no Dice", "no contrast", "no distillation"):
        assert ablation.VARIANTS[name].recipe.loss is not usual.recipe.loss
        assert ablation.VARIANTS[name].cross_validate_prototypes
    assert ablation.VARIANTS["no calibration bias"].recipe.calibrate is None
    assert not ablation.VARIANTS["visual prototypes always"].cross_validate_prototypes
