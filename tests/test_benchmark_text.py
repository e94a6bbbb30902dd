"""The benchmark of descriptions: its statistics against hand-worked numbers, its wording, and a whole small run."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import text, trials
from benchmarks.measures import Score

from aczerots.taxonomy import Taxonomy, TissueClass
from aczerots.text.descriptions import bundled_descriptions


def test_the_interval_by_hand():
    # Mean 2, standard deviation 1, t(0.975, 2) = 4.303: 4.303 / sqrt(3) = 2.484.
    assert trials.interval([1, 2, 3]) == pytest.approx((2, 2.484), abs=1e-3)
    mean, half = trials.interval([0.5])
    assert mean == 0.5
    assert math.isnan(half)


def test_harmonic_iou_of_counts_by_hand():
    # IoU 3/6 of the seen class, 1/4 of the unseen: 2 * 0.5 * 0.25 / 0.75 = 1/3.
    counts = np.array([[3, 2], [1, 1]])
    assert text.hiou(counts, seen=np.array([True, False])) == pytest.approx(1 / 3)


def test_four_kinds_of_description():
    given = Taxonomy(classes=(TissueClass(name="necrosis"), TissueClass(name="fat")))
    said = {kind: text.described_by(given, kind).classes[0].descriptions for kind in text.KINDS}
    full = bundled_descriptions("necrosis") or ()
    assert said["name"] == ("necrosis",)
    assert "an H&E image of necrosis." in said["templates"]
    assert said["one description"] == full[:1]
    assert said["all descriptions"] == full


def test_differences_are_paired_with_the_name():
    score = Score(0.5, 0.4, 0.6)
    rows = [
        text.Row("d", "name", score, score, (0.1, 0.2, 0.3), (0.5, 0.5, 0.5)),
        text.Row("d", "templates", score, score, (0.2, 0.3, 0.4), (0.5, 0.5, 0.5)),
    ]
    last = text.table(rows).splitlines()[-1]
    assert "| **+0.100 ± 0.000** |" in last
    assert "0.500 [0.400, 0.600]" in last


def test_a_small_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("ACZEROTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(text, "SETTINGS", {"phantom": ("phantom:6,size=128", "necrosis")})
    monkeypatch.setattr(trials, "TILE", 128)
    out = tmp_path / "text.json"
    monkeypatch.setattr(sys, "argv", ["text", "--seeds", "1", "--steps", "1", "--out", str(out)])
    text.main()
    assert len(capsys.readouterr().out.strip().splitlines()) == 2 + len(text.KINDS)
    rows = json.loads(out.read_text())["rows"]
    assert [r["kind"] for r in rows] == list(text.KINDS)
    assert len({r["zero_miou"]["value"] for r in rows}) > 1, "descriptions must matter"
