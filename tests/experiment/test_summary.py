"""Statistics of an experiment by hand and against SciPy."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from tests.report.fake import write_fake_run

from aczerots.config import SimulateSettings
from aczerots.report.compare import area_under_curve, paired_test
from aczerots.report.runs import read_run
from aczerots.simulation.experiment.page import write_pages
from aczerots.simulation.experiment.planned import PlannedRun
from aczerots.simulation.experiment.protocol import Protocol
from aczerots.simulation.experiment.summary import Scenario, crossing, overall, summarise
from aczerots.simulation.experiment.table import FinishedRun, finished, rows_of, write_table

NORMAL, STROMA = "normal lung tissue", "tumor-associated stroma"


def fake_done(out: Path, strategy: str, seed: int, unseen: str = NORMAL, **settings: object) -> FinishedRun:
    """A made-up finished run of three rounds."""
    folder = Path("runs") / f"{strategy}-{unseen[:6]}-{seed}-{len(settings)}"
    if not (out / folder).exists():
        gain = {"aczerots": 1.2, "badge": 1.05, "random": 1.0}[strategy]
        write_fake_run(out / folder, strategy=strategy, seed=seed, rounds=4, examples=0, tiles=1, gain=gain)
    values = {"dataset": "folder:luad", "unseen": (unseen,), "rounds": 3, "strategy": strategy, "seed": seed}
    planned = PlannedRun("luad", SimulateSettings(**(values | settings)), folder)
    return FinishedRun(planned, read_run(out / folder))


@pytest.fixture
def done(tmp_path: Path) -> list[FinishedRun]:
    runs = [(s, i, u) for u in (NORMAL, STROMA) for s in ("random", "aczerots", "badge") for i in range(4)]
    return [fake_done(tmp_path, s, i, u) for s, i, u in runs]


def test_crossing_interpolates_between_rounds():
    fractions, scores = [0.0, 0.1, 0.2, 0.3], [0.2, 0.4, None, 0.5]
    assert crossing(fractions, scores, 0.3) == pytest.approx(0.05)
    assert crossing(fractions, scores, 0.4) == pytest.approx(0.1)
    assert crossing(fractions, scores, 0.45) == pytest.approx(0.2)
    assert crossing(fractions, scores, 0.1) == 0.0
    assert crossing(fractions, scores, 0.51) is None
    # The first crossing counts, even if the curve falls again.
    assert crossing([0, 1, 2, 3], [0.0, 0.6, 0.1, 0.9], 0.3) == pytest.approx(0.5)


def test_the_paired_test_is_that_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.1, 1, 6), rng.normal(size=6)
    assert paired_test((a - b).tolist()) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert paired_test([0.3]) is None
    assert paired_test([0.1, 0.1]) is None


def test_arms_are_compared_with_the_reference_seed_by_seed(done: list[FinishedRun]):
    first, second = summarise(done, "random")
    assert (first.unseen, second.unseen, first.reference) == (NORMAL, STROMA, "random")
    assert [a.group.label for a in first.arms] == ["random", "aczerots", "badge"]
    random, ours, _ = first.arms
    areas = [[area_under_curve(r) or 0.0 for r in arm.group.runs] for arm in (ours, random)]
    assert ours.p == pytest.approx(stats.ttest_rel(*areas).pvalue)
    assert ours.difference is not None
    assert ours.difference.mean == pytest.approx(np.mean(areas[0]) - np.mean(areas[1]))
    assert random.difference is None
    # Fraction and ratio: the mean curve against 97 % of the mean full-label hIoU.
    goal = 0.97 * np.mean([r.full_hiou or 0.0 for r in ours.group.runs])
    mean = [np.mean([r.rounds[k].hiou or 0.0 for r in ours.group.runs]) for k in range(4)]
    assert mean[-2] < goal < mean[-1] or ours.fraction is None
    if ours.fraction is not None:
        assert np.interp(ours.fraction, ours.curve.fraction, mean) == pytest.approx(goal)


def test_means_over_unseen_sets_pair_by_seed(done: list[FinishedRun]):
    rows = {o.label: o for o in overall(summarise(done, "random"))}
    assert rows.keys() == {"random", "aczerots", "badge"}
    areas = {
        s: [
            np.mean(
                [area_under_curve(d.run) for d in done if d.planned.settings.strategy == s and d.run.record.seed == i]
            )
            for i in range(4)
        ]
        for s in ("random", "aczerots")
    }
    ours = rows["aczerots"]
    assert ours.scenarios == 2
    assert ours.area.mean == pytest.approx(np.mean(areas["aczerots"]))
    assert ours.p == pytest.approx(stats.ttest_rel(areas["aczerots"], areas["random"]).pvalue)
    assert rows["random"].difference is None


def test_over_sets_the_fraction_is_a_mean_of_those_that_reach_the_goal(
    done: list[FinishedRun], monkeypatch: pytest.MonkeyPatch
):
    (first, *_) = overall(summarise(done, "random"))
    assert (first.fractions, first.reached, first.fraction) == ((None, None), 0, None)
    monkeypatch.setattr("aczerots.simulation.experiment.summary.GOAL", 0.6)
    scenarios = summarise(done, "random")
    ours = next(o for o in overall(scenarios) if o.label == "aczerots")
    fractions = [next(a.fraction for a in s.arms if a.strategy == "aczerots") for s in scenarios]
    assert list(ours.fractions) == fractions
    assert (ours.reached, ours.fraction) == (2, pytest.approx(np.mean(fractions)))
    assert 0 < ours.fraction < 1
    half = replace(ours, fractions=(None, 0.2))
    assert (half.reached, half.fraction) == (1, 0.2)


def test_one_unseen_set_has_no_mean_over_sets(done: list[FinishedRun]):
    assert overall(summarise(done[:12], "random")) == []


def test_budgets_are_no_sets_to_average_over(tmp_path: Path, done: list[FinishedRun]):
    slow = [fake_done(tmp_path, "random", i, NORMAL, budget=0.02) for i in range(4)]
    first = overall(summarise(done, "random"))
    assert overall(summarise([*done[:12], *slow], "random")) == []
    rows = overall(summarise([*done, *slow], "random"))
    assert [replace(r, dataset="luad") for r in rows] == first
    assert {r.dataset for r in rows} == {"luad, 5 % + 15 %, 3 rounds"}


def test_datasets_weigh_the_same_whatever_their_sets(done: list[FinishedRun]):
    # luad with two sets, glas with one, which starts at another fraction.
    glas = [
        replace(
            d,
            planned=replace(d.planned, dataset="glas", settings=d.planned.settings.model_copy(update={"initial": 0.1})),
        )
        for d in done[:12]
    ]
    rows = overall(summarise([*done, *glas], "random"))
    assert [r.dataset for r in rows] == ["luad"] * 3 + ["mean of 2 datasets"] * 3
    assert [r.label for r in rows] == ["aczerots", "badge", "random"] * 2
    first, second = (
        {(d.planned.settings.strategy, d.run.record.seed): area_under_curve(d.run) or 0.0 for d in part}
        for part in (done[:12], done[12:])
    )
    # glas has the runs of luad's first set, so that this set counts 1/4 + 1/2.
    mean = {k: 0.75 * first[k] + 0.25 * second[k] for k in first}
    ours, theirs = ([mean[s, i] for i in range(4)] for s in ("aczerots", "random"))
    found = rows[3]
    assert (found.scenarios, found.area.n) == (3, 4)
    assert found.area.mean == pytest.approx(np.mean(ours))
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert found.p == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)


def test_no_mean_over_datasets_where_one_has_two_budgets(tmp_path: Path, done: list[FinishedRun]):
    slow = [fake_done(tmp_path, "random", i, NORMAL, budget=0.02) for i in range(4)]
    glas = [replace(d, planned=replace(d.planned, dataset="glas")) for d in done[:12]]
    assert overall(summarise([*done[:12], *slow, *glas], "random")) == []


def test_labels_tell_what_differs(tmp_path: Path):
    runs = [
        fake_done(tmp_path, "aczerots", 0),
        fake_done(tmp_path, "aczerots", 0, without=("coverage",)),
        fake_done(tmp_path, "aczerots", 0, text="names", tile_size=128),
    ]
    (scenario,) = summarise(runs, "random")
    minus = "\N{MINUS SIGN}"
    assert [a.group.label for a in scenario.arms] == [
        "aczerots · descriptions · tile_size 224",
        f"aczerots {minus} coverage · descriptions · tile_size 224",
        "aczerots · names · tile_size 128",
    ]
    assert scenario.reference == scenario.arms[0].group.label
    # Another budget is another comparison.
    assert len(summarise([*runs, fake_done(tmp_path, "aczerots", 0, budget=0.3)], "random")) == 2


def test_the_table_has_a_row_per_run_and_round(done: list[FinishedRun], tmp_path: Path):
    rows = [row for d in done for row in rows_of(d)]
    assert len(rows) == 24 * 4
    assert {r["unseen"] for r in rows} == {NORMAL, STROMA}
    assert json.loads(rows[1]["iou"]).keys() == set(done[0].run.record.taxonomy.names)
    written = write_table(rows, tmp_path)
    lines = written[0].read_text().splitlines()
    assert len(lines) == 97
    assert lines[0].startswith("dataset,unseen,strategy,without,preset,text,")


def test_the_parquet_table_is_the_same(done: list[FinishedRun], tmp_path: Path):
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [row for d in done for row in rows_of(d)]
    assert parquet.read_table(write_table(rows, tmp_path)[1]).to_pylist() == rows


def test_a_run_counts_only_with_all_its_rounds(tmp_path: Path):
    done = fake_done(tmp_path, "random", 0)
    record = tmp_path / done.planned.folder / "run.json"
    content = json.loads(record.read_text())
    for rounds, complete, counts in ((3, True, True), (5, True, True), (2, True, False), (3, False, False)):
        record.write_text(json.dumps(content | {"settings": {"rounds": rounds}, "complete": complete}))
        assert (finished(done.planned, tmp_path) is not None) is counts
    record.unlink()
    assert finished(done.planned, tmp_path) is None


def page_of(done: list[FinishedRun], out: Path) -> tuple[list[Scenario], str]:
    protocol = Protocol.model_validate(
        {
            "name": "fake",
            "title": "A <made up> experiment",
            "datasets": [{"name": "luad", "locator": "folder:luad"}],
            "grid": [{"strategies": ["random"]}],
        }
    )
    scenarios = summarise(done, "random")
    write_pages(protocol, done, scenarios, [(done[0].planned, "disk full")], out)
    return scenarios, (out / "index.html").read_text()


@pytest.mark.slow
def test_the_page_has_figures_tables_and_failures(done: list[FinishedRun], tmp_path: Path):
    scenarios, page = page_of(done, tmp_path / "out")
    assert "A &lt;made up&gt; experiment" in page
    assert page.count("<svg") == 4
    assert "disk full" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    for scenario in scenarios:
        for arm in scenario.arms:
            assert arm.group.area is not None
            assert f"{arm.group.area.mean:.3f}" in text
    assert len(list((tmp_path / "out" / "figures").glob("*.svg"))) == 4


def test_markdown_marks_what_is_clear(done: list[FinishedRun], tmp_path: Path):
    scenarios, _ = page_of(done, tmp_path / "out")
    text = (tmp_path / "out" / "results.md").read_text()
    ours = next(a for a in scenarios[0].arms if a.strategy == "aczerots")
    assert ours.difference is not None
    assert ours.difference.low is not None
    assert ours.difference.low > 0
    line = next(x for x in text.splitlines() if x.startswith("| aczerots"))
    assert f"**+{ours.difference.mean:.3f}".replace("0.", ".") in line
    widths = {len(x.split("|")) for x in text.splitlines() if x.startswith("|") and "ratio" not in x}
    assert widths <= {11, 12}
