"""Small random pools."""

import numpy as np

from aczerots.selection.base import Pool


def make_pool(tiles: int = 14, labelled: int = 4, seed: int = 0, cells: int = 9, classes: int = 4) -> Pool:
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
    return Pool(features.astype(np.float16), scores, inside, done, seen, vectors, np.ones(tiles, np.float32))
