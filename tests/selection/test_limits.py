"""At most k tiles per slide and per patient: every strategy keeps to it, and gives nothing away for it."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import make_pool, make_rich_pool

from aczerots.errors import SettingsError
from aczerots.selection.base import PoolView
from aczerots.selection.limits import Allowance, Limit, limit_by
from aczerots.selection.locate import STRATEGIES, locate_strategy


def limited(pool: PoolView, per_slide: int | None, per_patient: int | None, seed: int) -> PoolView:
    """The pool on seven slides of three patients."""
    slide = np.random.default_rng(seed).integers(0, 7, len(pool))
    limits = [limit_by(slide.tolist(), per_slide)] if per_slide else []
    limits += [limit_by((slide % 3).tolist(), per_patient)] if per_patient else []
    return dataclasses.replace(pool, limits=tuple(limits))


def room(pool: PoolView) -> int:
    """How many tiles there are to choose: of each patient what the slides have to give."""
    free = ~pool.labelled
    if len(pool.limits) == 1:
        return int(np.minimum(np.bincount(pool.limits[0].group[free]), pool.limits[0].most).sum())
    slide, patient = pool.limits
    total = 0
    for p in np.unique(patient.group):
        mine = free & (patient.group == p)
        total += min(patient.most, int(np.minimum(np.bincount(slide.group[mine], minlength=1), slide.most).sum()))
    return total


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(1, 3),
    st.one_of(st.none(), st.integers(1, 5)),
    st.integers(1, 25),
    st.sampled_from(STRATEGIES),
)
def test_limits_hold_and_as_many_tiles_are_chosen_as_they_allow(
    seed: int, per_slide: int, per_patient: int | None, budget: int, name: str
):
    pool = limited(make_rich_pool(tiles=24, labelled=4, seed=seed), per_slide, per_patient, seed)
    found = locate_strategy(name).select(pool, budget, np.random.default_rng(0))
    assert all(limit.kept(found.tiles) for limit in pool.limits)
    assert len(set(found.tiles.tolist())) == len(found.tiles) == len(found.score) == min(budget, room(pool))
    assert not pool.labelled[found.tiles].any()


@pytest.mark.parametrize("name", STRATEGIES)
def test_limits_that_do_not_bind_change_nothing(name: str):
    pool = make_rich_pool(tiles=24, labelled=4, seed=1)
    free = locate_strategy(name).select(pool, 8, np.random.default_rng(0))
    wide = locate_strategy(name).select(limited(pool, 24, 24, 0), 8, np.random.default_rng(0))
    assert wide.tiles.tolist() == free.tiles.tolist()
    assert wide.score.tolist() == free.score.tolist()


@pytest.mark.parametrize("name", STRATEGIES)
def test_choices_are_the_same_up_to_the_first_that_is_not_allowed(name: str):
    pool = make_pool(tiles=24, labelled=4, seed=5)
    free = locate_strategy(name).select(pool, 12, np.random.default_rng(0)).tiles
    bound = limited(pool, 1, None, 5)
    slide = bound.limits[0].group
    first = next(i for i in range(1, 12) if slide[free[i]] in slide[free[:i]])
    found = locate_strategy(name).select(bound, 12, np.random.default_rng(0)).tiles
    assert found[:first].tolist() == free[:first].tolist()


def test_the_best_of_each_slide_by_hand():
    pool = make_pool(tiles=5, labelled=1, seed=0)
    scores = np.zeros((5, 9, 4), dtype=np.float32)
    scores[..., 0] = np.array([0.5, 1.0, 2.0, 0.1, 3.0])[:, None]
    one, other = (np.flatnonzero(~pool.labelled)[i] for i in (0, 1))
    slide = np.zeros(5, dtype=int)
    slide[other] = 1
    bound = dataclasses.replace(pool, scores=scores, limits=(limit_by(slide.tolist(), 1),))
    found = locate_strategy("margin").select(bound, 4, np.random.default_rng(0)).tiles.tolist()
    # Low scores of the one class are high doubt.
    first = [int(t) for t in np.flatnonzero(~pool.labelled) if slide[t] == 0]
    best = min(first, key=lambda t: scores[t, 0, 0])
    assert sorted(found) == sorted([best, int(other)])
    assert one in first


def test_what_is_drawn_already_does_not_count():
    allowance = Allowance(np.array([True, False, False]), [Limit(np.array([0, 0, 0]), 1)])
    assert allowance.open.tolist() == [False, True, True]
    allowance.take(2)
    assert allowance.open.tolist() == [False, False, False]


def test_a_limit_below_one_is_refused():
    with pytest.raises(SettingsError, match="at most 0"):
        limit_by(["a"], 0)
