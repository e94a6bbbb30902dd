"""Means, intervals and areas against values worked by hand or by scipy's own routines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from aczerots.report.compare import (
    area_under_curve,
    estimate,
    final_hiou,
    group_runs,
)
from aczerots.report.runs import read_run
from tests.report.fake import write_fake_run


def test_interval_is_students() -> None:
    values = [0.41, 0.44, 0.40, 0.47, 0.43]
    found = estimate(values)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high))


def test_one_value_has_no_interval_and_none_no_estimate() -> None:
    found = estimate([0.5])
    assert found is not None
    assert (found.mean, found.low, found.high, found.n) == (0.5, None, None, 1)
    assert estimate([]) is None


def test_area_is_a_mean_over_the_span(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", rounds=2, examples=0)
    head = (folder / "metrics.csv").read_text().splitlines()[0]
    tail = "," * (len(head.split(",")) - 7)
    rows = [f"{r},0,{s},,,,{h}{tail}" for r, s, h in ((0, 0, 0.2), (1, 0.1, 0.4), (2, 0.2, ""), (3, 0.5, 0.6))]
    (folder / "metrics.csv").write_text("\n".join([head, *rows]))
    # trapezoids 0.1 * 0.3 + 0.4 * 0.5 = 0.23, over a span of 0.5
    assert area_under_curve(read_run(folder)) == pytest.approx(0.46)


def test_runs_that_differ_in_seed_only_are_one_group(tmp_path: Path) -> None:
    names = [("aczerots", 0), ("aczerots", 1), ("random", 1), ("random", 0), ("random", 7)]
    runs = [read_run(write_fake_run(tmp_path / f"{s}{i}", strategy=s, seed=i, examples=0, rounds=3)) for s, i in names]
    ours, random = group_runs(runs)
    assert [r.record.seed for r in ours.runs] == [0, 1]
    assert [r.record.seed for r in random.runs] == [0, 1, 7]
    curve = ours.curve()
    means = [np.mean([a.hiou, b.hiou]) for a, b in zip(runs[0].rounds, runs[1].rounds, strict=True)]
    assert curve.score == pytest.approx(means)
    final = estimate(ours.differences(random, final_hiou))
    gains = [
        (final_hiou(runs[0]) or 0) - (final_hiou(runs[3]) or 0),
        (final_hiou(runs[1]) or 0) - (final_hiou(runs[2]) or 0),
    ]
    assert final is not None
    assert final.n == 2
    assert final.mean == pytest.approx(np.mean(gains))


def test_other_settings_make_another_group_that_says_so(tmp_path: Path) -> None:
    folders = [write_fake_run(tmp_path / str(i), seed=i, examples=0, rounds=2) for i in range(2)]
    record = json.loads((folders[1] / "run.json").read_text())
    record["settings"]["budget"] = 0.3
    (folders[1] / "run.json").write_text(json.dumps(record))
    labels = [group.label for group in group_runs([read_run(folder) for folder in folders])]
    assert labels == ["aczerots · prozs · budget=0.15", "aczerots · prozs · budget=0.3"]


def test_a_run_on_all_labels_is_a_level(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "full", rounds=2, examples=0)
    text = (folder / "metrics.csv").read_text().replace("1,6,0.05,", "1,120,1.0,")
    (folder / "metrics.csv").write_text(text)
    (group,) = group_runs([read_run(folder)])
    assert group.all_labels
    assert group.label == "all labels · prozs"
