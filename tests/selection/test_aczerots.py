"""Our criterion: lazy greedy against brute force, submodularity, and the use of each term."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import make_pool

from aczerots.selection.aczerots import AczerotsStrategy
from aczerots.selection.base import PoolView
from aczerots.selection.clusters import best_cosine
from aczerots.selection.coverage import CoverageState, class_demand
from aczerots.selection.locate import locate_strategy
from aczerots.selection.region_features import region_features

ONLY_COVERAGE = AczerotsStrategy(("coverage",))


def coverage_value(pool: PoolView, chosen: tuple[int, ...]) -> float:
    """Covered demand with ``chosen`` drawn, computed without greedy or laziness."""
    spread = -(pool.posterior() * np.log(np.maximum(pool.posterior(), 1e-12))).sum(-1) / np.log(len(pool.seen))
    state, _ = ONLY_COVERAGE._states(pool, pool.posterior(), spread.astype(np.float32), np.random.default_rng(0))
    value = 0.0
    drawn = state.supply[list(chosen)].reshape(-1, state.supply.shape[-1])
    for point, demand, before in zip(state.points, state.demand, state.covered, strict=True):
        best = max([0.0, *(float(point @ s) for s in drawn)])
        value += float(demand) * max(best, float(before))
    return value


@settings(max_examples=8)
@given(st.integers(0, 10_000))
def test_the_first_tile_is_the_brute_force_optimum(seed: int):
    pool = make_pool(tiles=8, labelled=2, seed=seed)
    found = ONLY_COVERAGE.select(pool, 1, np.random.default_rng(0)).tiles
    values = {int(t): coverage_value(pool, (int(t),)) for t in pool.candidates}
    assert values[int(found[0])] == pytest.approx(max(values.values()), abs=1e-6)


@pytest.mark.slow
@settings(max_examples=4)
@given(st.integers(0, 10_000))
def test_greedy_picks_the_best_addition_every_time_and_is_near_the_optimum(seed: int):
    pool = make_pool(tiles=8, labelled=2, seed=seed)
    found = tuple(int(t) for t in ONLY_COVERAGE.select(pool, 3, np.random.default_rng(0)).tiles)
    for step in range(3):
        sets = {t: coverage_value(pool, (*found[:step], int(t))) for t in pool.candidates if t not in found[:step]}
        assert sets[found[step]] == pytest.approx(max(sets.values()), abs=1e-6)
    start = coverage_value(pool, ())
    best = max(coverage_value(pool, s) for s in combinations(pool.candidates.tolist(), 3)) - start
    assert coverage_value(pool, found) - start >= (1 - 1 / np.e) * best - 1e-6


@given(st.integers(0, 10_000))
def test_coverage_gains_never_grow(seed: int):
    rng = np.random.default_rng(seed)
    supply = rng.normal(size=(6, 4, 5)).astype(np.float32)
    supply /= np.linalg.norm(supply, axis=-1, keepdims=True)
    points = supply.reshape(-1, 5)
    demand = rng.random(len(points)).astype(np.float32)
    state = CoverageState(points, demand / demand.sum(), np.zeros(len(points), np.float32), supply)
    gains = []
    for tile in rng.permutation(6)[:4]:
        gains.append(state.gains(np.arange(6)))
        state.add(int(tile))
    assert (np.diff(np.array(gains), axis=0) <= 1e-6).all()
    assert (np.array(gains) >= -1e-9).all()


def test_rare_classes_demand_as_much_as_common_ones():
    posterior = np.array([[1.0, 0.0]] * 9 + [[0.0, 1.0]], dtype=np.float32)
    demand = class_demand(posterior, np.zeros(10, dtype=np.float32))
    assert demand[:9].sum() == pytest.approx(demand[9])
    assert demand.sum() == pytest.approx(1.0)


def test_best_cosine_is_blockwise_the_same():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 3)).astype(np.float32), rng.normal(size=(11, 3)).astype(np.float32)
    expected = np.maximum((a @ b.T).max(axis=1), 0)
    np.testing.assert_allclose(best_cosine(a, b, block=4), expected, rtol=1e-6)
    assert best_cosine(a, b[:0]).tolist() == [0.0] * 7


def test_a_term_that_is_off_changes_nothing_and_one_that_is_on_counts():
    pool = make_pool(tiles=20, labelled=3, seed=7)
    full = locate_strategy("aczerots").select(pool, 6, np.random.default_rng(0))
    alone = locate_strategy("aczerots", ("diversity", "coverage")).select(pool, 6, np.random.default_rng(0))
    utility = full.utilities["uncertainty"]
    assert alone.tiles.tolist() == np.argsort(-np.nan_to_num(utility, nan=-1), kind="stable")[:6].tolist()
    assert full.tiles.tolist() != alone.tiles.tolist()


def test_uncertainty_weighs_the_demand_for_coverage_and_is_not_added_to_it():
    pool = make_pool(tiles=20, labelled=3, seed=7)
    posterior = pool.posterior()
    spread = -(posterior * np.log(posterior)).sum(-1) / np.log(len(pool.seen))
    demand = {}
    for terms in (("uncertainty", "coverage"), ("coverage",)):
        state, _ = AczerotsStrategy(terms, per_tile=9)._states(
            pool, posterior, spread.astype(np.float32), np.random.default_rng(0)
        )
        demand[terms] = state.demand
    _, cells = region_features(pool, 9, 16, np.random.default_rng(0))
    ratio = (demand["uncertainty", "coverage"] / demand["coverage",]).reshape(cells.shape)
    expected = 0.3 + np.take_along_axis(spread, cells, axis=1)
    np.testing.assert_allclose(ratio / ratio.max(), expected / expected.max(), rtol=1e-4)
    runs = [AczerotsStrategy(weights=(w, 0.1, 1.0)).select(pool, 6, np.random.default_rng(0)).tiles for w in (0.0, 9.0)]
    assert runs[0].tolist() == runs[1].tolist()


def test_cost_prefers_cheap_tiles_of_equal_gain():
    pool = make_pool(tiles=6, labelled=0, seed=1)
    twins = PoolView(
        np.repeat(pool.features[:1], 6, axis=0),
        np.repeat(pool.scores[:1], 6, axis=0),
        np.ones_like(pool.inside),
        pool.labelled,
        pool.seen,
        pool.vectors,
        np.array([3, 2, 1, 2, 3, 3], dtype=np.float32),
    )
    found = AczerotsStrategy(per_cost=True).select(twins, 1, np.random.default_rng(0))
    assert found.tiles.tolist() == [2]
