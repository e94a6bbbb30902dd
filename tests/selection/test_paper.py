"""The paper's three scores by hand."""

import math

import numpy as np
import pytest
from pools import make_pool

from aczerots.selection.locate import locate_strategy
from aczerots.selection.paper import contrast_divergence, evidential, summarisation
from aczerots.selection.uncertainty import entropy


def test_evidential_uncertainty():
    # Evidence (2, 0): Dirichlet strength 3 + 1 = 4, uncertainty 2 / 4. No evidence at all: 1.
    assert evidential(np.array([[2.0, -1.0], [-3.0, -4.0]])).tolist() == [0.5, 1.0]


def test_entropy_is_normalised():
    found = entropy(np.array([[0.5, 0.5], [1.0, 0.0], [0.75, 0.25]]))
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(2)
    assert found.tolist() == pytest.approx([1.0, 0.0, expected], abs=1e-5)


def test_contrast_takes_the_nearest_labelled_cells_and_the_right_direction():
    features = np.array([[0.0, 0.0]])
    reference = np.array([[0.1, 0.0], [0.0, 0.2], [9.0, 9.0]])
    p = np.array([[0.8, 0.2]])
    q = np.array([[0.5, 0.5], [0.8, 0.2], [0.01, 0.99]])
    kl = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    found = contrast_divergence(features, p, reference, q, neighbours=2)
    assert found.tolist() == pytest.approx([kl / 2], rel=1e-5)


def test_contrast_uses_what_there_is_when_fewer_than_k_are_labelled():
    p = np.array([[0.5, 0.5]])
    assert contrast_divergence(np.zeros((1, 2)), p, np.ones((1, 2)), p).tolist() == pytest.approx([0.0], abs=1e-6)


def test_summarisation_is_the_distance_to_the_nearest_class_vector():
    vectors = np.array([[0.0, 0.0], [3.0, 0.0]])
    assert summarisation(np.array([[3.0, 4.0], [1.0, 0.0]]), vectors).tolist() == pytest.approx([4.0, 1.0])


def test_the_score_is_the_sum_of_the_three_scaled_scores():
    pool = make_pool(tiles=15, labelled=5, seed=2)
    found = locate_strategy("paper").select(pool, 4, np.random.default_rng(0))
    total = sum(found.components[k] for k in ("uncertainty", "contrast", "coverage"))
    assert found.score == pytest.approx(total)
    assert (np.diff(found.score) <= 0).all()
    for values in found.utilities.values():
        assert np.nanmin(values) == 0
        assert np.nanmax(values) == 1
