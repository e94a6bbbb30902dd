"""Core-set, TypiClust and ProbCover against brute force and by hand; k-means against scikit-learn."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import make_pool

from aczerots.selection.base import PoolView
from aczerots.selection.clusters import kmeans, nearest_distance, plus_plus, sample_one, square_distances
from aczerots.selection.coreset import CoresetStrategy
from aczerots.selection.probcover import ProbcoverStrategy, pure_radius
from aczerots.selection.typiclust import TypiclustStrategy, typicality


def points_pool(points: list[list[float]], labelled: list[int]) -> PoolView:
    """One cell per tile, at these points."""
    features = np.array(points, dtype=np.float32)[:, None]
    n = len(features)
    done = np.zeros(n, bool)
    done[labelled] = True
    base = make_pool(tiles=n, labelled=0, cells=1)
    return dataclasses.replace(base, features=features, labelled=done, inside=np.ones((n, 1), bool))


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_coreset_always_takes_the_farthest_point(seed: int):
    pool = make_pool(tiles=12, labelled=3, seed=seed)
    mean = np.array([f[i].astype(float).mean(axis=0) for f, i in zip(pool.features, pool.inside, strict=True)])
    centres = list(np.flatnonzero(pool.labelled))
    found = CoresetStrategy().select(pool, 5, np.random.default_rng(0))
    for tile, score in zip(found.tiles, found.score, strict=True):
        far = [min(np.linalg.norm(mean[i] - mean[c]) for c in centres) for i in range(12)]
        assert tile == int(np.argmax(far))
        assert score == pytest.approx(max(far))
        centres.append(tile)


def test_coreset_by_hand():
    pool = points_pool([[0, 0], [1, 0], [5, 0], [6, 0], [3, 4]], labelled=[0])
    assert CoresetStrategy().select(pool, 3, np.random.default_rng(0)).tiles.tolist() == [3, 4, 1]
    cold = points_pool([[0, 0], [1, 0], [2, 0], [9, 0]], labelled=[])
    assert CoresetStrategy().select(cold, 2, np.random.default_rng(0)).tiles.tolist() == [3, 0]


def test_distances_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(9, 3)), rng.normal(size=(7, 3))
    brute = np.linalg.norm(a[:, None] - b[None], axis=-1)
    assert square_distances(a, b) == pytest.approx(brute**2)
    monkeypatch.setattr("aczerots.selection.clusters._BLOCK", 2)
    assert nearest_distance(a, b) == pytest.approx(brute.min(axis=1))


def test_sampling_follows_the_weights():
    rng = np.random.default_rng(0)
    hits = np.bincount([sample_one(np.array([0.0, 1.0, 3.0]), rng.random(3)) for _ in range(4000)], minlength=3)
    assert hits[0] == 0
    assert hits[2] / hits.sum() == pytest.approx(0.75, abs=0.03)


def test_one_number_samples_by_its_place_in_the_summed_weights():
    weights = np.array([0.0, 1.0, 3.0, 0.0])
    found = [sample_one(weights, np.array([u])) for u in (0.0, 0.2499, 0.25, 0.9999999999999999)]
    assert found == [1, 1, 2, 2]
    assert [sample_one(np.zeros(4), np.array([u])) for u in (0.0, 0.3, 0.99)] == [0, 1, 3]


def test_plus_plus_takes_every_distinct_point_before_a_second_of_its_kind():
    points = np.array([[0.0], [0.0], [4.0], [4.0], [9.0]])
    for seed in range(20):
        rng = np.random.default_rng(seed)
        chosen = plus_plus(points, 5, lambda rng=rng: rng.random(5))
        assert sorted(chosen.tolist()) == [0, 1, 2, 3, 4]
        assert set(points[chosen[:3], 0]) == {0.0, 4.0, 9.0}


def test_kmeans_finds_what_scikit_learn_finds():
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(3)
    points = np.concatenate([rng.normal(c, 0.3, size=(30, 2)) for c in ([0, 0], [5, 0], [0, 5])])
    centres, owner = kmeans(points, 3, lambda: rng.random(90))
    other = KMeans(3, n_init=10, random_state=0).fit(points)
    assert ((points - centres[owner]) ** 2).sum() == pytest.approx(other.inertia_, rel=1e-6)


def test_typicality_by_hand():
    points = np.array([[0.0], [1.0], [3.0]])
    # Mean distance to the two others: 2, 1.5, 2.5.
    assert typicality(points, points, 2) == pytest.approx([1 / 2, 1 / 1.5, 1 / 2.5], rel=1e-4)
    assert typicality(points[:1], points[:1], 5).tolist() == [0.0]


def test_typiclust_takes_the_middle_of_each_cluster_without_a_drawn_tile():
    rng = np.random.default_rng(0)
    angles = np.concatenate([[0.0], rng.normal(0, 0.05, 9), [1.5], 1.5 + rng.normal(0, 0.05, 7), [3.0]])
    points = [[float(np.cos(a)), float(np.sin(a))] for a in angles]
    pool = points_pool(points, labelled=[18])
    found = TypiclustStrategy().select(pool, 2, np.random.default_rng(0)).tiles
    # The largest cluster first; the third holds nothing but the drawn tile.
    assert found[0] < 10 <= found[1] < 18
    for tile, mine in zip(found, (range(10), range(10, 18)), strict=True):
        middle = np.median(angles[list(mine)])
        assert abs(angles[tile] - middle) < 0.03


def test_the_radius_is_where_balls_stop_being_pure():
    points = np.array([[0.0], [1.0], [3.0], [7.0]])
    owner = np.array([0, 0, 1, 1])
    # Distances to the other cluster: 3, 2, 2, 6.
    assert pure_radius(points, owner, 1.0) == 2.0
    assert pure_radius(points, owner, 0.5) == pytest.approx(2.5)
    assert pure_radius(points, np.zeros(4, int), 0.9) == 0.0


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_probcover_covers_the_most_at_every_step(seed: int):
    pool = make_pool(tiles=14, labelled=2, seed=seed)
    found = ProbcoverStrategy(purity=0.5).select(pool, 4, np.random.default_rng(0))
    start = found.utilities["covers"]
    assert found.score[0] == np.nanmax(start)
    assert (np.diff(found.score) <= 0).all()
    assert (found.score >= 0).all()


def test_probcover_by_hand():
    # Two tight groups and a loner; one tile of the larger group is drawn, so the smaller group is next.
    angles = [0.0, 0.01, 0.02, 0.03, 1.5, 1.51, 1.52, 3.0]
    pool = points_pool([[float(np.cos(a)), float(np.sin(a))] for a in angles], labelled=[0])
    pool = dataclasses.replace(pool, seen=np.ones(3, bool), scores=np.zeros((8, 1, 3), np.float32))
    found = ProbcoverStrategy().select(pool, 3, np.random.default_rng(0))
    assert found.tiles[0] in (4, 5, 6)
    assert found.score.tolist() == [3.0, 1.0, 0.0]
    assert found.tiles[1] == 7
