"""Measures of doubt by hand; chance."""

import dataclasses
import math

import numpy as np
import pytest
from pools import make_pool, make_rich_pool, permuted

from aczerots.selection.bald import BaldStrategy, mutual_information
from aczerots.selection.base import PoolView
from aczerots.selection.least_confidence import LeastConfidenceStrategy
from aczerots.selection.margin import MarginStrategy, confidence_gap
from aczerots.selection.random import RandomStrategy

TWO = np.array([[0.5, 0.3, 0.2], [0.9, 0.06, 0.04]])


def pool_of(posteriors: list[list[list[float]]]) -> PoolView:
    """A pool of tiles with these posteriors [n, m, C], nothing drawn."""
    p = np.array(posteriors, dtype=np.float32)
    n, m, c = p.shape
    return PoolView(
        features=np.ones((n, m, 2), np.float32),
        scores=np.log(p),
        inside=np.ones((n, m), bool),
        labelled=np.zeros(n, bool),
        seen=np.ones(c, bool),
        vectors=np.ones((c, 2), np.float32),
        cost=np.ones(n, np.float32),
    )


def test_the_margin_is_that_of_the_two_most_probable_classes():
    assert confidence_gap(TWO).tolist() == pytest.approx([1 - 0.2, 1 - 0.84], abs=1e-6)
    assert confidence_gap(np.ones((2, 1))).tolist() == [0.0, 0.0]


def test_margin_and_least_confidence_can_disagree():
    # Tile 0 wavers between two classes of three; tile 1 is spread over all of them but has a clear first.
    pool = pool_of([[[0.49, 0.48, 0.03]], [[0.44, 0.28, 0.28]]])
    margin = MarginStrategy().select(pool, 1, np.random.default_rng(0))
    least = LeastConfidenceStrategy().select(pool, 1, np.random.default_rng(0))
    assert margin.tiles.tolist() == [0]
    assert margin.score[0] == pytest.approx(0.99, abs=1e-6)
    assert least.tiles.tolist() == [1]
    assert least.score[0] == pytest.approx(0.56, abs=1e-6)


def test_mutual_information_by_hand():
    # Two states that contradict each other: mean (.5, .5), each of entropy H(.9).
    samples = [np.array([[0.9, 0.1], [0.5, 0.5]]), np.array([[0.1, 0.9], [0.5, 0.5]])]
    h = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert mutual_information(samples).tolist() == pytest.approx([math.log(2) - h, 0.0], abs=1e-6)


def test_bald_prefers_states_that_disagree_to_plain_doubt():
    pool = pool_of([[[0.5, 0.5]], [[0.6, 0.4]]])
    sure = [np.array([[[0.5, 0.5]], [[p, 1 - p]]], dtype=np.float32) for p in (0.99, 0.21)]
    found = BaldStrategy().select(dataclasses.replace(pool, samples=lambda: sure), 1, np.random.default_rng(0))
    assert found.tiles.tolist() == [1]
    assert np.nanmax(BaldStrategy().select(pool, 2, np.random.default_rng(0)).score) == 0.0


def test_only_cells_inside_the_tile_count():
    pool = pool_of([[[0.5, 0.5], [0.9, 0.1]], [[0.7, 0.3], [0.7, 0.3]]])
    found = MarginStrategy().select(pool, 2, np.random.default_rng(0))
    assert found.score == pytest.approx([(1.0 + 0.2) / 2, 0.6], abs=1e-6)
    outside = dataclasses.replace(pool, inside=np.array([[False, True], [True, True]]))
    assert MarginStrategy().select(outside, 2, np.random.default_rng(0)).score == pytest.approx([0.6, 0.2], abs=1e-6)


def test_random_gives_every_tile_its_chance_and_goes_by_key():
    pool = make_pool(tiles=6, labelled=1)
    hits = np.zeros(6)
    for seed in range(600):
        hits[RandomStrategy().select(pool, 2, np.random.default_rng(seed)).tiles] += 1
    assert hits[pool.labelled].tolist() == [0.0]
    assert hits[~pool.labelled].min() > 190
    assert hits.max() < 290
    rich = make_rich_pool(tiles=6, labelled=1)
    order = np.array([3, 1, 5, 0, 2, 4])
    straight = RandomStrategy().select(rich, 3, np.random.default_rng(1)).tiles
    assert order[RandomStrategy().select(permuted(rich, order), 3, np.random.default_rng(1)).tiles].tolist() == (
        straight.tolist()
    )
