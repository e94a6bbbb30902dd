"""Large pools: the same answers from memory maps, in blocks and by looking at few tiles; groups near exact greedy."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import make_pool, permuted

from aczerots.selection import aczerots, base, probcover, region_features, typiclust, uncertainty
from aczerots.selection.aczerots import AczerotsStrategy
from aczerots.selection.base import PoolView
from aczerots.selection.clusters import kmeans, plus_plus
from aczerots.selection.coreset import CoresetStrategy
from aczerots.selection.coverage import CoverageState, condense
from aczerots.selection.lazy import LazyMaximum, highest
from aczerots.selection.locate import locate_strategy
from aczerots.selection.probcover import ProbcoverStrategy, pure_radius
from aczerots.selection.typiclust import TypiclustStrategy

LARGE = ("aczerots", "coreset", "typiclust", "probcover")


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40))
def test_the_lazy_maximum_is_that_of_looking_at_all(seed: int, number: int, shortlist: int):
    rng = np.random.default_rng(seed)
    # Few different values: many ties.
    value = rng.integers(0, 6, number).astype(float)
    value[rng.random(number) < 0.2] = -np.inf
    ties = rng.permutation(number)
    present = value.copy()
    search = LazyMaximum(value.copy(), ties, lambda p: present[p], shortlist)
    taken: list[int] = []
    while True:
        free = np.array([i for i in range(number) if i not in taken and value[i] > -np.inf], dtype=int)
        found = search.take()
        if not len(free):
            assert found is None
            break
        assert found is not None
        best = free[np.lexsort((ties[free], -present[free]))[0]]
        assert found == (best, present[best])
        taken.append(found[0])
        present -= rng.integers(0, 2, number)


def test_the_lazy_maximum_looks_at_few():
    looked = []

    def present(positions: np.ndarray) -> np.ndarray:
        looked.append(len(positions))
        return bounds[positions]

    bounds = np.random.default_rng(0).random(20_000)
    search = LazyMaximum(bounds.copy(), np.arange(20_000), present)
    found = [search.take() for _ in range(5)]
    assert [f[0] for f in found if f] == np.argsort(-bounds)[:5].tolist()
    assert sum(looked) < 1000


def test_the_highest_by_hand():
    values, ties = np.array([3.0, 5.0, 3.0, 1.0, 3.0]), np.array([4, 3, 2, 1, 0])
    assert sorted(highest(values, ties, 2).tolist()) == [1, 4]
    assert sorted(highest(values, ties, 3).tolist()) == [1, 2, 4]
    assert sorted(highest(values, ties, 9).tolist()) == [0, 1, 2, 3, 4]


def on_disk(pool: PoolView, folder: Path) -> PoolView:
    """The same pool with features and scores in memory maps."""
    maps = {}
    for name in ("features", "scores"):
        np.save(folder / f"{name}.npy", getattr(pool, name))
        maps[name] = np.load(folder / f"{name}.npy", mmap_mode="r")
    return dataclasses.replace(pool, **maps)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few tiles, and shortlists of a few positions."""
    for module in (base, region_features, uncertainty):
        monkeypatch.setattr(module, "_BLOCK", 7)
    monkeypatch.setattr(probcover, "_DEMAND", 4096)
    monkeypatch.setattr("aczerots.selection.clusters._OWNED", 40)
    monkeypatch.setattr("aczerots.selection.coverage._CELLS", 100)
    monkeypatch.setattr("aczerots.selection.lazy._SHORTLIST", 5)
    monkeypatch.setattr("aczerots.selection.lazy._FIRST", 2)


@pytest.mark.parametrize("name", LARGE)
def test_answers_depend_neither_on_blocks_nor_on_memory_maps(name: str, tmp_path: Path, request: pytest.FixtureRequest):
    pool = make_pool(tiles=90, labelled=5, seed=3, cells=16)
    whole = locate_strategy(name).select(pool, 20, np.random.default_rng(0))
    request.getfixturevalue("small_blocks")
    parts = locate_strategy(name).select(on_disk(pool, tmp_path), 20, np.random.default_rng(0))
    assert parts.tiles.tolist() == whole.tiles.tolist()
    assert parts.score == pytest.approx(whole.score, abs=1e-5)
    for key, values in whole.utilities.items():
        assert parts.utilities[key] == pytest.approx(values, abs=1e-5, nan_ok=True)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_of_a_pool_against_whole_arrays():
    pool = make_pool(tiles=30, seed=1)
    e = np.exp(pool.scores - pool.scores.max(axis=-1, keepdims=True))
    assert pool.posterior() == pytest.approx(e / e.sum(axis=-1, keepdims=True), abs=1e-6)
    mean = [f[i].astype(float).mean(axis=0) for f, i in zip(pool.features, pool.inside, strict=True)]
    assert pool.tile_features() == pytest.approx(np.array(mean), abs=1e-6)
    classes = [p[i].mean(axis=0) for p, i in zip(pool.posterior(), pool.inside, strict=True)]
    assert pool.tile_mean(pool.posterior()) == pytest.approx(np.array(classes), abs=1e-6)
    p = pool.posterior().astype(float)
    assert uncertainty.entropy(pool.posterior()) == pytest.approx(-(p * np.log(p)).sum(-1) / np.log(4), abs=1e-5)


def large_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pool counts as large."""
    monkeypatch.setattr(aczerots, "_LARGE", 0)
    monkeypatch.setattr(region_features, "_SAMPLE", 20)
    monkeypatch.setattr(region_features, "_LARGE", 0)
    monkeypatch.setattr(typiclust, "_SAMPLE", 20)
    monkeypatch.setattr(typiclust, "_PER_CLUSTER", 1)
    monkeypatch.setattr(probcover, "_DEMAND", 30)
    monkeypatch.setattr(typiclust, "_REFERENCE", 4)


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("labelled", [0, 30, 59])
def test_large_pools_keep_the_contract(name: str, labelled: int, monkeypatch: pytest.MonkeyPatch):
    large_samples(monkeypatch)
    pool = make_pool(tiles=60, labelled=labelled)
    for budget in (1, 12, 100):
        found = locate_strategy(name).select(pool, budget, np.random.default_rng(0))
        again = locate_strategy(name).select(pool, budget, np.random.default_rng(0))
        assert len(set(found.tiles.tolist())) == len(found.tiles) == min(budget, 60 - labelled)
        assert not pool.labelled[found.tiles].any()
        assert found.tiles.tolist() == again.tiles.tolist()
        assert np.isfinite(found.score).all()
        assert all(np.isfinite(v[~pool.labelled]).all() for v in found.utilities.values())


@pytest.mark.parametrize("name", ["coreset", "typiclust", "probcover"])
def test_large_pools_do_not_depend_on_their_order(name: str, monkeypatch: pytest.MonkeyPatch):
    large_samples(monkeypatch)
    for seed in range(8):
        pool = dataclasses.replace(make_pool(tiles=60, labelled=5, seed=seed), keys=np.arange(60))
        order = np.random.default_rng(seed).permutation(60)
        straight = locate_strategy(name).select(pool, 12, np.random.default_rng(0)).tiles
        shuffled = order[locate_strategy(name).select(permuted(pool, order), 12, np.random.default_rng(0)).tiles]
        assert sorted(straight.tolist()) == sorted(shuffled.tolist())


def test_coreset_is_that_of_all_distances():
    pool = make_pool(tiles=400, labelled=3, seed=5)
    points = np.array([f[i].astype(float).mean(axis=0) for f, i in zip(pool.features, pool.inside, strict=True)])
    nearest = np.min([np.linalg.norm(points - points[t], axis=1) for t in np.flatnonzero(pool.labelled)], axis=0)
    found = CoresetStrategy().select(pool, 100, np.random.default_rng(0))
    for tile, score in zip(found.tiles, found.score, strict=True):
        assert tile == nearest.argmax()
        assert score == pytest.approx(nearest.max(), rel=1e-5)
        nearest = np.minimum(nearest, np.linalg.norm(points - points[tile], axis=1))


def test_probcover_is_that_of_all_balls():
    pool = make_pool(tiles=150, labelled=3, seed=5)
    found = ProbcoverStrategy(0.3).select(pool, 60, np.random.default_rng(0))
    points = pool.tile_features().astype(float)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    draws = pool.draw(rng)
    _, owner = kmeans(points, len(pool.seen), lambda: pool.draw(rng))
    radius = pure_radius(points, owner, 0.3)
    inside = np.linalg.norm(points[:, None] - points[None], axis=-1) < radius - 1e-6
    bare = ~inside[pool.labelled].any(axis=0)
    free = ~pool.labelled
    for tile, score in zip(found.tiles, found.score, strict=True):
        gain = np.where(free, (inside & bare).sum(axis=1), -1)
        best = gain.argmax() if gain.max() > 0 else np.where(free, draws, -1.0).argmax()
        assert (tile, score) == (best, gain[tile])
        bare &= ~inside[tile]
        free[tile] = False
    assert 0.0 in found.score.tolist()


def test_typiclust_of_a_sample_finds_the_same_clear_clusters(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    centres = np.linalg.qr(rng.normal(size=(12, 12)))[0][:6]
    points = np.repeat(centres, 40, axis=0) + 0.03 * rng.normal(size=(240, 12))
    base_pool = make_pool(tiles=240, labelled=0, cells=1)
    pool = dataclasses.replace(base_pool, features=points[:, None].astype(np.float32), inside=np.ones((240, 1), bool))
    monkeypatch.setattr(typiclust, "_SAMPLE", 90)
    monkeypatch.setattr(typiclust, "_PER_CLUSTER", 1)
    found = TypiclustStrategy().select(pool, 6, np.random.default_rng(0)).tiles
    assert sorted((found // 40).tolist()) == [0, 1, 2, 3, 4, 5]


def test_distant_points_are_starting_centres_in_float32_too():
    points = np.repeat(100.0 + np.eye(3, dtype=np.float32), 5, axis=0)
    chosen = plus_plus(points, 3, lambda: np.full(15, 0.5))
    assert sorted((chosen // 5).tolist()) == [0, 1, 2]


def covered(points: np.ndarray, demand: np.ndarray, regions: np.ndarray, chosen: list[int]) -> float:
    """Covered demand, from the definition."""
    supply = regions[chosen].reshape(-1, regions.shape[-1]).astype(float)
    return float(demand.astype(float) @ np.maximum((points.astype(float) @ supply.T).max(axis=1), 0.0))


def clustered_regions(tiles: int, seed: int) -> np.ndarray:
    """Unit regions [tiles, 4, 8] around 40 centres of unequal weight, with noise."""
    rng = np.random.default_rng(seed)
    centres, share = rng.normal(size=(40, 8)), 1.0 / np.arange(1, 41)
    own = rng.choice(40, (tiles, 4), p=share / share.sum())
    regions = centres[own] + 0.5 * rng.normal(size=(tiles, 4, 8))
    return (regions / np.linalg.norm(regions, axis=-1, keepdims=True)).astype(np.float32)


def greedy(state: CoverageState, budget: int, pick: Callable[[np.ndarray], int]) -> list[int]:
    """Greedy choice that looks at every tile at every step."""
    chosen: list[int] = []
    everything = np.arange(len(state.supply))
    for _ in range(budget):
        chosen.append(pick(state.gains(everything)))
        state.add(chosen[-1])
    return chosen


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_groups_choose_within_one_percent_of_exact_greedy(seed: int):
    regions = clustered_regions(400, seed)
    points = regions.reshape(-1, 8)
    demand = np.random.default_rng(seed).random(len(points)).astype(np.float32)
    demand /= demand.sum()
    means, weight = condense(points, demand, 400, np.random.default_rng(seed))
    assert weight.sum() == pytest.approx(1.0, abs=1e-5)
    assert (np.linalg.norm(means, axis=1) <= 1 + 1e-5).all()
    assert weight @ means == pytest.approx(demand @ points, abs=1e-5)
    pick: Callable[[np.ndarray], int] = lambda gains: int(gains.argmax())  # noqa: E731
    exact = greedy(CoverageState(points, demand, np.zeros(len(points), np.float32), regions), 20, pick)
    few = greedy(CoverageState(means, weight, np.zeros(len(means), np.float32), regions), 20, pick)
    assert covered(points, demand, regions, few) >= 0.99 * covered(points, demand, regions, exact)


def test_more_demand_than_is_looked_at_is_drawn_by_its_size():
    rng = np.random.default_rng(0)
    points = np.eye(2, dtype=np.float32)[np.repeat([0, 1], 5000)]
    demand = np.repeat(np.float32([3, 1]), 5000) / np.float32(20_000)
    means, weight = condense(points, demand, 50, rng)
    assert weight @ means == pytest.approx([0.75, 0.25], abs=0.001)


def test_the_strategy_of_large_pools_covers_nearly_as_much(monkeypatch: pytest.MonkeyPatch):
    pool = make_pool(tiles=300, labelled=0, seed=2, cells=4)
    strategy = AczerotsStrategy(("coverage",), per_tile=4, max_demand=10_000)
    exact = strategy.select(pool, 20, np.random.default_rng(0))
    monkeypatch.setattr(aczerots, "_LARGE", 0)
    few = AczerotsStrategy(("coverage",), per_tile=4, groups=400).select(pool, 20, np.random.default_rng(0))
    regions, _ = region_features.region_features(pool, 4, 16, np.random.default_rng(0))
    spread = uncertainty.entropy(pool.posterior())
    state, _ = strategy._states(pool, pool.posterior(), spread, np.random.default_rng(0))
    values = [covered(state.points, state.demand, regions, s.tiles.tolist()) for s in (exact, few)]
    assert values[1] >= 0.99 * values[0]
    assert few.tiles.tolist() != exact.tiles.tolist()
