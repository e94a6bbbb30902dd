"""BADGE: its embedding is the gradient that autograd finds."""

import numpy as np
import pytest
import torch
from pools import make_pool, points_and_scores

from aczerots.selection.badge import BadgeStrategy, gradient_embedding


def test_the_embedding_is_the_gradient_of_the_last_layer():
    pool = make_pool(tiles=70, labelled=3, seed=5)
    weight = torch.from_numpy(pool.vectors.astype(np.float64))
    features = torch.from_numpy(pool.features.astype(np.float64))
    pool = points_and_scores(pool, (features @ weight.T).numpy())
    found = gradient_embedding(pool)
    for i in (0, 17, 69):
        w = weight.clone().requires_grad_(True)
        logits = features[i][pool.inside[i]] @ w.T
        torch.nn.functional.cross_entropy(logits, logits.argmax(dim=1)).backward()
        assert w.grad is not None
        assert found[i] == pytest.approx(w.grad.numpy().ravel(), abs=1e-6)


def test_badge_begins_with_the_largest_gradient_and_spreads():
    pool = make_pool(tiles=20, labelled=4, seed=1)
    length = np.where(pool.labelled, -1, np.linalg.norm(gradient_embedding(pool), axis=1))
    found = BadgeStrategy().select(pool, 5, np.random.default_rng(0))
    assert found.tiles[0] == length.argmax()
    assert found.score[0] == pytest.approx(length.max())
    assert (found.score > 0).all()


def test_badge_draws_by_squared_distance():
    # Three candidates: equal gradients at 0 and 1, another at 2. The second draw never takes the double.
    pool = make_pool(tiles=3, labelled=0, cells=1)
    features = pool.features.copy()
    features[1] = features[0]
    scores = pool.scores.copy()
    scores[1] = scores[0]
    pool = points_and_scores(pool, scores, features)
    for seed in range(10):
        second = BadgeStrategy().select(pool, 2, np.random.default_rng(seed)).tiles
        assert 2 in second
