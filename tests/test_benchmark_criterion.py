"""The benchmark of criteria's variants on a small phantom."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks import criterion, trials

from aczerots.selection.random import RandomStrategy


@pytest.mark.slow
def test_a_small_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("ACZEROTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(criterion, "SETTINGS", {"phantom": ("phantom:8,size=128", (["necrosis"],))})
    usual = criterion.PRESETS["prozs"]
    quick = replace(usual, recipe=replace(usual.recipe, steps=3), cross_validate_prototypes=False)
    monkeypatch.setattr(criterion, "PRESETS", {**criterion.PRESETS, "prozs": quick})
    monkeypatch.setattr(criterion, "ROUNDS", 2)
    monkeypatch.setattr(criterion, "FRACTION", 0.3)
    monkeypatch.setattr(trials, "TILE", 128)
    out = tmp_path / "out.json"
    words = ["--datasets", "phantom", "--seeds", "2", "--variants", "random", "per cost", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["criterion", *words])
    criterion.main()
    curves = json.loads(out.read_text())
    assert [(c["variant"], c["seed"]) for c in curves] == [(v, s) for v in ("random", "per cost") for s in (0, 1)]
    for c in curves:
        assert len(c["cost"]) == len(c["hiou"]) == 3
        assert c["cost"][0] == 0
        assert np.diff(c["cost"]).min() >= 1, "a tile takes at least a look"
    assert len({c["hiou"][0] for c in curves}) == 1, "nothing is drawn yet"
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [r.split("|")[2].strip() for r in rows] == ["random", "per cost"]
    assert float(rows[1].split("|")[5]) < 1.05, "it asks for what is drawn easily"


def test_areas_by_hand():
    assert criterion.area([0, 2, 4], [0.0, 1.0, 1.0], 4) == pytest.approx(0.75)
    assert criterion.area([0, 2, 4], [0.0, 1.0, 1.0], 1) == pytest.approx(0.25)
    curves = [
        criterion.Curve("d", "u", "a", 0, (0.0, 4.0), (0.0, 1.0)),
        criterion.Curve("d", "u", "b", 0, (0.0, 2.0), (0.0, 1.0)),
    ]
    one, other = criterion.table(curves).splitlines()[2:]
    assert one.split("|")[3:8] == [" 0.500 ", "  ", " 1.00 ", " 0.250 ", "  "]
    assert other.split("|")[3:8] == [" 0.500 ", " +0.000 ", " 0.50 ", " 0.500 ", " +0.250 "]


def test_random_is_among_the_variants():
    assert isinstance(criterion.VARIANTS["random"](), RandomStrategy)
