"""The benchmark of selection measures what it says: its objectives, its slope, its pools and its parts."""

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import scale
from benchmarks.scale_selection import exponent, main, objectives, run
from benchmarks.selection_contest import coverage
from benchmarks.selection_pools import open_pool, tile_points, write_pool


def test_objectives_by_hand():
    angle = np.array([0.0, 0.1, 1.0, 3.0])
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    found = objectives(points, np.array([0, 2]), neighbours=1)
    assert found["cosine"] == pytest.approx((1 + np.cos(0.1) + 1 + np.cos(2.0)) / 4)
    assert found["radius"] == pytest.approx(2 * np.sin(1.0))
    assert found["typicality"] == pytest.approx((1 / (2 * np.sin(0.05)) + 1 / (2 * np.sin(0.45))) / 2)


def test_the_exponent_is_the_slope():
    assert exponent([10, 100, 1000], [2.0, 20.0, 200.0]) == pytest.approx(1.0)
    assert exponent([10, 1000], [1.0, 100.0**1.5]) == pytest.approx(1.5)


def test_pools_are_written_once_and_open_as_maps(tmp_path: Path):
    place = write_pool(tmp_path, 300)
    pool = open_pool(place)
    assert isinstance(pool.features, np.memmap)
    assert pool.features.shape == (300, 16, 128)
    assert int(pool.labelled.sum()) == 30
    before = (place / "features.npy").stat().st_mtime_ns
    assert write_pool(tmp_path, 300) == place
    assert (place / "features.npy").stat().st_mtime_ns == before
    points = tile_points(place)
    assert np.linalg.norm(points, axis=1) == pytest.approx(np.ones(300), abs=1e-5)


def test_coverage_alone_is_greedy_facility_location(tmp_path: Path):
    points = tile_points(write_pool(tmp_path, 200))
    np.save(tmp_path / "points.npy", points)
    found = coverage(tmp_path / "points.npy", 5)
    cosine = np.maximum(points.astype(float) @ points.T.astype(float), 0.0)
    best = np.zeros(200)
    for tile in found:
        gains = np.maximum(cosine - best[:, None], 0.0).sum(axis=0)
        assert gains[tile] == pytest.approx(gains.max(), rel=1e-4)
        best = np.maximum(best, cosine[:, tile])


def test_a_contestant_that_fails_says_why(tmp_path: Path):
    assert "No such file" in str(run("aczerots:coreset", tmp_path / "none.npy", 3))


def test_the_table_has_every_strategy_and_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("benchmarks.scale_selection.STRATEGIES", ("coreset",))
    options = ["--sizes", "200,400", "--peers", "", "--budget", "5", "--folder", str(tmp_path)]
    main([*options, "--json", str(tmp_path / "rows.json")])
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [(r["strategy"], r["tiles"]) for r in rows] == [("coreset", 200), ("coreset", 400)]
    assert all(r["cpu"] > 0 and r["peak"] > 10**7 for r in rows)
    assert capsys.readouterr().out.count("exponent") == 1


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        scale.main(["nonsense"])
    assert stop.value.code == 2
    assert "selection" in capsys.readouterr().err
