"""RIPU by hand."""

import math

import numpy as np
import pytest
from scipy.ndimage import convolve
from test_baselines import pool_of

from aczerots.selection.regions import region_sums
from aczerots.selection.ripu import RipuStrategy, impurity_and_uncertainty


def test_region_sums_agree_with_a_convolution():
    values = np.random.default_rng(0).normal(size=(2, 5, 7, 3))
    for radius in (0, 1, 2):
        kernel = np.ones((2 * radius + 1, 2 * radius + 1))
        found = region_sums(values, radius)
        for b in range(2):
            for k in range(3):
                expected = convolve(values[b, :, :, k], kernel, mode="constant")
                assert found[b, :, :, k] == pytest.approx(expected)


def test_impurity_and_uncertainty_by_hand():
    # A row of three cells predicting 0, 0, 1; regions of radius 1 hold (0, 0), (0, 0, 1) and (0, 1).
    posterior = np.array([[[[0.9, 0.1], [0.8, 0.2], [0.5 - 1e-9, 0.5 + 1e-9]]]])
    impurity, uncertainty = impurity_and_uncertainty(posterior, np.ones((1, 1, 3), bool), 1)
    third = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)) / math.log(2)
    assert impurity.ravel().tolist() == pytest.approx([0.0, third, 1.0], abs=1e-6)
    h = [-(p * math.log(p) + (1 - p) * math.log(1 - p)) / math.log(2) for p in (0.9, 0.8, 0.5)]
    assert uncertainty.ravel().tolist() == pytest.approx([(h[0] + h[1]) / 2, sum(h) / 3, (h[1] + h[2]) / 2], abs=1e-6)


def test_cells_outside_the_tile_do_not_make_a_region_impure():
    posterior = np.array([[[[0.9, 0.1], [0.1, 0.9]]]])
    impurity, _ = impurity_and_uncertainty(posterior, np.array([[[True, False]]]), 1)
    assert impurity[0, 0, 0] == pytest.approx(0.0, abs=1e-9)


def test_the_score_is_the_mean_of_the_products():
    pool = pool_of([[[0.6, 0.4], [0.4, 0.6], [0.6, 0.4], [0.4, 0.6]], [[0.6, 0.4]] * 4])
    found = RipuStrategy().select(pool, 2, np.random.default_rng(0))
    # A 2 x 2 grid: every region of radius 1 is the whole tile, half of each class.
    h = -(0.6 * math.log(0.6) + 0.4 * math.log(0.4)) / math.log(2)
    assert found.tiles.tolist() == [0, 1]
    assert found.score == pytest.approx([h, 0.0], abs=1e-6)
