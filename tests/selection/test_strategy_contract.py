"""What every strategy must keep; a new one is added to STRATEGIES. The example of CONTRIBUTING.md keeps it too."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pools import make_pool, make_rich_pool, permuted
from tests.contributing import install_example

from aczerots.errors import SettingsError
from aczerots.selection.base import PoolView, Strategy
from aczerots.selection.locate import GROUP, STRATEGIES, locate_strategy

MakePool = Callable[..., PoolView]
ALL = (*STRATEGIES, "variation")
"""All of the package, and the example of CONTRIBUTING.md."""


@pytest.fixture(scope="module", autouse=True)
def contributed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The example of CONTRIBUTING.md as another package that announces it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("package")
        install_example("Add a strategy", GROUP, "variation = VariationStrategy", folder, patch)
        yield


@pytest.fixture(params=ALL)
def strategy(request: pytest.FixtureRequest) -> Strategy:
    return locate_strategy(request.param)


@pytest.fixture(params=[make_pool, make_rich_pool], ids=["plain", "rich"])
def make(request: pytest.FixtureRequest) -> MakePool:
    """Pools with and without what only a run knows."""
    maker: MakePool = request.param
    return maker


def test_it_is_a_strategy(strategy: Strategy):
    assert isinstance(strategy, Strategy)
    assert strategy.name in ALL


@pytest.mark.parametrize("labelled", [0, 4, 13, 14])
@pytest.mark.parametrize("budget", [1, 5, 100])
def test_right_count_no_repeats_never_a_labelled_tile(strategy: Strategy, make: MakePool, labelled: int, budget: int):
    pool = make(labelled=labelled)
    found = strategy.select(pool, budget, np.random.default_rng(0))
    assert len(found.tiles) == min(budget, 14 - labelled)
    assert len(set(found.tiles.tolist())) == len(found.tiles)
    assert not pool.labelled[found.tiles].any()


@pytest.mark.parametrize("labelled", [0, 4])
def test_scores_and_components_are_finite_and_cover_the_pool(strategy: Strategy, make: MakePool, labelled: int):
    pool = make(labelled=labelled)
    found = strategy.select(pool, 5, np.random.default_rng(0))
    assert np.isfinite(found.score).all()
    assert found.utilities.keys() == found.components.keys() != set()
    for name, values in found.utilities.items():
        assert np.isnan(values[pool.labelled]).all()
        assert np.isfinite(values[~pool.labelled]).all()
        assert found.components[name].shape == (5,)
        assert np.isfinite(found.components[name]).all()


def test_the_same_seed_gives_the_same_answer(strategy: Strategy, make: MakePool):
    pool = make()
    runs = [strategy.select(pool, 5, np.random.default_rng(3)).tiles.tolist() for _ in range(2)]
    assert runs[0] == runs[1]


@settings(max_examples=12)
@given(st.integers(0, 1000), st.sampled_from([0, 4]), st.sampled_from([make_pool, make_rich_pool]))
@example(136, 0, make_pool)  # two tiles of a cluster of two are equally far from its centre
def test_the_answer_does_not_depend_on_the_order_of_the_pool(seed: int, labelled: int, make: MakePool):
    pool = make(seed=seed, labelled=labelled)
    order = np.random.default_rng(seed + 1).permutation(len(pool))
    for name in ALL:
        strategy = locate_strategy(name)
        straight = strategy.select(pool, 4, np.random.default_rng(0)).tiles
        shuffled = order[strategy.select(permuted(pool, order), 4, np.random.default_rng(0)).tiles]
        # Greedy criteria may meet two equal tiles in another order, but they take the same ones.
        assert sorted(straight.tolist()) == sorted(shuffled.tolist()), name


def test_equal_tiles_are_taken_without_repeats(strategy: Strategy):
    one = make_pool(tiles=1, labelled=0)
    pool = PoolView(
        *(np.repeat(x, 6, axis=0) for x in (one.features, one.scores, one.inside)),
        labelled=np.arange(6) == 2,
        seen=one.seen,
        vectors=one.vectors,
        cost=np.ones(6, np.float32),
    )
    found = strategy.select(pool, 4, np.random.default_rng(0))
    assert len(set(found.tiles.tolist())) == 4
    assert 2 not in found.tiles
    assert np.isfinite(found.score).all()


def test_a_budget_below_one_is_refused(strategy: Strategy):
    with pytest.raises(SettingsError, match="budget 0"):
        strategy.select(make_pool(), 0, np.random.default_rng(0))


def test_one_tile_and_one_class_of_cells(strategy: Strategy):
    pool = make_pool(tiles=1, labelled=0, cells=1)
    assert strategy.select(pool, 3, np.random.default_rng(0)).tiles.tolist() == [0]


@pytest.mark.parametrize(
    ("name", "without", "words"),
    [
        ("nothing", (), "unknown strategy 'nothing'"),
        ("random", ("coverage",), "no term 'coverage'"),
        ("aczerots", ("contrast",), "no term 'contrast'"),
        ("aczerots", ("uncertainty", "diversity", "coverage"), "every term is switched off"),
    ],
)
def test_wrong_names_are_explained(name: str, without: tuple[str, ...], words: str):
    with pytest.raises(SettingsError, match=words):
        locate_strategy(name, without)
