"""DEAL, MADA, S4AL and PBAL by hand and against scikit-learn."""

import dataclasses
import math

import numpy as np
import pytest
from pools import make_rich_pool
from test_baselines import pool_of

from aczerots.selection.deal import DealStrategy, attended, difficulty, logistic
from aczerots.selection.mada import MadaStrategy, class_centroids
from aczerots.selection.pbal import PbalStrategy, discrepancy
from aczerots.selection.s4al import S4alStrategy, rarity
from aczerots.taxonomy import IGNORE

RNG = np.random.default_rng(0)


def test_attention_gathers_from_like_cells():
    p = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    found = attended(p, np.array([True, True, True, False]))
    e = math.e
    assert found[0] == pytest.approx([2 * e / (2 * e + 1), 1 / (2 * e + 1)])
    assert found[2] == pytest.approx([2 / (2 + e), e / (2 + e)])


def test_the_regression_is_that_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(200, 3)), np.ones((200, 1))], axis=1)
    wrong = rng.random(200) < 1 / (1 + np.exp(-x @ [1.0, -2.0, 0.0, -1.0]))
    # Their C weighs samples of total weight n against the penalty; ours of total weight 1 against 1e-3.
    weight = np.where(wrong, 0.5 / wrong.sum(), 0.5 / (~wrong).sum())
    other = LogisticRegression(C=1e3, fit_intercept=False, tol=1e-10, max_iter=1000).fit(x, wrong, weight)
    assert logistic(x, wrong) == pytest.approx(other.coef_[0], rel=1e-3)


def test_difficulty_is_high_where_the_model_errs():
    # The model is wrong wherever it says class 1, whatever its confidence.
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], size=(8, 9))
    pool = pool_of(p.tolist())
    labels = np.where(p.argmax(axis=-1) == 1, 0, p.argmax(axis=-1)).astype(np.uint8)
    pool = dataclasses.replace(pool, labelled=np.arange(8) < 4, labels=labels)
    hard = difficulty(pool, pool.posterior())
    ones = p[4:].argmax(axis=-1) == 1
    assert hard[4:][ones].mean() > 0.8
    assert hard[4:][~ones].mean() < 0.2
    assert DealStrategy().select(pool, 1, RNG).tiles[0] in range(4, 8)


def test_without_known_errors_difficulty_is_doubt():
    pool = pool_of([[[0.7, 0.3]], [[0.6, 0.4]]])
    assert difficulty(pool, pool.posterior()).ravel().tolist() == pytest.approx([0.3, 0.4], abs=1e-6)
    assert DealStrategy().select(pool, 1, RNG).tiles.tolist() == [1]


def test_class_centroids_by_hand():
    pool = pool_of([[[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]]])
    features = np.array([[[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]]], np.float32)
    pool = dataclasses.replace(pool, features=features)
    assert class_centroids(pool, np.array([[0, 0, 1]])).tolist() == [[2.0, 0.0, 0.0, 5.0]]
    assert class_centroids(pool, np.array([[0, 0, IGNORE]])).tolist() == [[2.0, 0.0, 0.0, 0.0]]


def test_mada_takes_the_tile_farthest_from_all_anchors():
    pool = pool_of([[[0.9, 0.1]]] * 4)
    features = np.array([0.0, 10.0, 9.0, 4.0], np.float32)[:, None, None] * np.ones((1, 1, 2), np.float32)
    pool = dataclasses.replace(pool, features=features, labelled=np.array([True, True, False, False]))
    found = MadaStrategy().select(pool, 2, np.random.default_rng(0))
    assert found.tiles.tolist() == [3, 2]
    assert found.score == pytest.approx([4 * math.sqrt(2), math.sqrt(2)])
    # One anchor only: it lies at 5, and 9 is farther from it than 4.
    assert MadaStrategy(anchors=1).select(pool, 2, np.random.default_rng(0)).tiles.tolist() == [2, 3]


def test_rare_classes_weigh_more():
    pool = pool_of([[[0.5, 0.5]] * 4, [[0.5, 0.5]] * 4])
    assert rarity(pool).tolist() == [1.0, 1.0]
    labels = np.array([[0, 0, 0, 1], [1, 1, 1, 1]], np.uint8)
    pool = dataclasses.replace(pool, labels=labels, labelled=np.array([True, False]))
    # Shares 3/4 and 1/4, smoothed by 1/2: 1 / 1.25 and 1 / 0.75, scaled to mean 1.
    assert rarity(pool) == pytest.approx([0.75, 1.25])


def test_s4al_scores_the_best_quarter_of_regions():
    sure, torn = [0.999, 0.001], [0.5, 0.5]
    # 4 x 4 grids: all doubt in one corner beats the same doubt spread thinly.
    corner = [torn if i in (0, 1, 4, 5) else sure for i in range(16)]
    spread = [torn if i in (0, 3, 12, 15) else sure for i in range(16)]
    found = S4alStrategy().select(pool_of([spread, corner]), 2, RNG)
    assert found.tiles.tolist() == [1, 0]
    # Corner: regions around 0, 1, 4, 5 hold 4 of 4, 4 of 6, 4 of 6 and 4 of 9 torn cells.
    rest = -(0.999 * math.log(0.999) + 0.001 * math.log(0.001)) / math.log(2)
    regions = [1.0, (4 + 2 * rest) / 6, (4 + 2 * rest) / 6, (4 + 5 * rest) / 9]
    assert found.score[0] == pytest.approx(np.mean(regions), rel=1e-4)


def test_discrepancy_is_the_divergence_to_the_dropout_posteriors():
    pool = pool_of([[[0.8, 0.2]], [[0.5, 0.5]]])
    other = np.array([[[0.5, 0.5]], [[0.5, 0.5]]], np.float32)
    dropped = dataclasses.replace(pool, samples=lambda: [other, pool.posterior()])
    kl = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    assert discrepancy(dropped).ravel().tolist() == pytest.approx([kl / 2, 0.0], abs=1e-6)
    assert PbalStrategy().select(dropped, 1, RNG).tiles.tolist() == [0]
    assert discrepancy(pool).max() == pytest.approx(0.0, abs=1e-6)


def test_labels_of_tiles_that_are_not_drawn_are_never_used():
    pool = make_rich_pool(seed=4)
    assert pool.labels is not None
    spoiled = dataclasses.replace(pool, labels=np.where(pool.labelled[:, None], pool.labels, 1).astype(np.uint8))
    for strategy in (DealStrategy(), MadaStrategy(), S4alStrategy()):
        runs = [strategy.select(p, 5, np.random.default_rng(0)).tiles.tolist() for p in (pool, spoiled)]
        assert runs[0] == runs[1]
