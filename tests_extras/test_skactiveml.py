"""Strategies of scikit-activeml keep the contract of all strategies."""

import numpy as np
import pytest
from pools import make_pool, make_rich_pool, permuted
from skactiveml.pool import CoreSet, TypiClust
from test_strategy_contract import (  # noqa: F401  # pytest runs what it finds by these names
    make,
    test_a_budget_below_one_is_refused,
    test_equal_tiles_are_taken_without_repeats,
    test_one_tile_and_one_class_of_cells,
    test_right_count_no_repeats_never_a_labelled_tile,
    test_scores_and_components_are_finite_and_cover_the_pool,
    test_the_same_seed_gives_the_same_answer,
)

from aczerots.errors import SettingsError
from aczerots.selection.base import PoolView, Strategy
from aczerots.selection.limits import Limit
from aczerots.selection.locate import locate_strategy
from aczerots.selection.skactiveml import PREFIX, USABLE


@pytest.fixture(params=USABLE)
def strategy(request: pytest.FixtureRequest) -> Strategy:
    found = locate_strategy(PREFIX + request.param)
    assert isinstance(found, Strategy)
    assert found.name == PREFIX + request.param
    return found


@pytest.mark.parametrize("labelled", [0, 4])
def test_the_answer_does_not_depend_on_the_order_of_the_pool(strategy: Strategy, labelled: int):
    pool = make_rich_pool(seed=labelled, labelled=labelled)
    order = np.random.default_rng(1).permutation(len(pool))
    straight = strategy.select(pool, 4, np.random.default_rng(0)).tiles
    shuffled = order[strategy.select(permuted(pool, order), 4, np.random.default_rng(0)).tiles]
    assert straight.tolist() == shuffled.tolist()


def test_it_keeps_to_limits(strategy: Strategy):
    pool = make_pool(labelled=0)
    limit = Limit(np.arange(len(pool)) // 5, 2)
    limited = PoolView(**{k: getattr(pool, k) for k in PoolView.__dataclass_fields__ if k != "limits"}, limits=(limit,))
    found = strategy.select(limited, 100, np.random.default_rng(0)).tiles
    assert limit.kept(found)
    assert len(found) == 2 * (int(limit.group.max()) + 1)


@pytest.mark.parametrize("query", [CoreSet, TypiClust])
def test_the_tiles_are_those_that_the_library_chooses(query: type):
    pool = make_pool(labelled=4)
    ours = locate_strategy(PREFIX + query.__name__).select(pool, 5, np.random.default_rng(7))
    labels = np.where(pool.labelled, pool.tile_mean(pool.posterior()).argmax(axis=1), np.nan)
    seed = int(np.random.default_rng(7).integers(1 << 31))
    theirs = query(random_state=seed).query(pool.tile_features().astype(np.float64), labels, batch_size=5)
    assert ours.tiles.tolist() == theirs.tolist()


def test_another_name_is_explained():
    with pytest.raises(SettingsError, match="unknown strategy 'skactiveml:Quire'"):
        locate_strategy("skactiveml:Quire")
