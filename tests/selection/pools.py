"""Small random pools."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from aczerots.selection.base import PoolView, softmax
from aczerots.taxonomy import IGNORE


def make_pool(tiles: int = 14, labelled: int = 4, seed: int = 0, cells: int = 9, classes: int = 4) -> PoolView:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(tiles, cells, 12)).astype(np.float32)
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    inside = rng.random((tiles, cells)) < 0.8
    inside[:, 0] = True
    done = np.zeros(tiles, dtype=bool)
    done[rng.permutation(tiles)[:labelled]] = True
    seen = np.arange(classes) < classes - 1
    vectors = rng.normal(size=(classes, 12)).astype(np.float32)
    scores = (8 * features @ vectors.T).astype(np.float32)
    return PoolView(features.astype(np.float16), scores, inside, done, seen, vectors, np.ones(tiles, np.float32))


def make_rich_pool(tiles: int = 14, labelled: int = 4, seed: int = 0, cells: int = 9, classes: int = 4) -> PoolView:
    """The same with all that a run knows: keys, drawn labels, MC-dropout posteriors."""
    pool = make_pool(tiles, labelled, seed, cells, classes)
    rng = np.random.default_rng([seed, 1])
    labels = rng.integers(0, classes, (tiles, cells)).astype(np.uint8)
    labels[labels == classes - 1] = IGNORE
    noise = rng.normal(size=(3, *pool.scores.shape)).astype(np.float32)
    return dataclasses.replace(
        pool,
        keys=rng.permutation(1000)[:tiles].astype(np.int64),
        labels=labels,
        samples=lambda: [softmax(pool.scores + part) for part in noise],
    )


def permuted(pool: PoolView, order: np.ndarray) -> PoolView:
    """The same tiles in another order."""
    samples = pool.samples

    def again() -> Iterator[np.ndarray]:
        assert samples is not None
        for part in samples():
            yield part[order]

    keys = pool.keys if pool.keys is not None else np.arange(len(pool))
    return dataclasses.replace(
        pool,
        features=pool.features[order],
        scores=pool.scores[order],
        inside=pool.inside[order],
        labelled=pool.labelled[order],
        cost=pool.cost[order],
        keys=keys[order],
        labels=None if pool.labels is None else pool.labels[order],
        samples=None if samples is None else again,
    )


def points_and_scores(pool: PoolView, scores: np.ndarray, features: np.ndarray | None = None) -> PoolView:
    """The pool with other scores, and other features if given."""
    changed = pool.features if features is None else features
    return dataclasses.replace(pool, scores=scores.astype(np.float32), features=changed)
