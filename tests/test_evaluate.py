"""Metrics against torchmetrics and against hand-worked values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aczerots.evaluate import ConfusionMatrix, harmonic_mean
from aczerots.taxonomy import IGNORE, Taxonomy, TissueClass


def taxonomy(classes: int, unseen: int) -> Taxonomy:
    return Taxonomy(classes=tuple(TissueClass(name=f"c{i}", seen=i >= unseen) for i in range(classes)))


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.floats(0, 0.9))
def test_metrics_agree_with_torchmetrics(seed: int, classes: int, ignored: float):
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index
    from torchmetrics.functional.segmentation import dice_score

    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (3, 9, 7)).astype(np.uint8)
    predicted = np.where(rng.random(truth.shape) < 0.5, truth, rng.integers(0, classes, truth.shape)).astype(np.uint8)
    truth[rng.random(truth.shape) < ignored] = IGNORE
    matrix = ConfusionMatrix(classes)
    for t, p in zip(truth, predicted, strict=True):
        matrix.add(t, p)
    found = matrix.metrics(taxonomy(classes, 1))
    tp, tt = torch.from_numpy(predicted.astype(np.int64)), torch.from_numpy(truth.astype(np.int64))
    known = tt != IGNORE
    if not known.any():
        assert math.isnan(found.pacc)
        return
    options = {"num_classes": classes, "ignore_index": IGNORE}
    iou = multiclass_jaccard_index(tp, tt, average=None, **options)
    assert np.nan_to_num(found.iou) == pytest.approx(iou.numpy(), abs=1e-6)
    assert found.pacc == pytest.approx(multiclass_accuracy(tp, tt, average="micro", **options).item(), abs=1e-6)
    flat = tp[known].reshape(1, -1), tt[known].reshape(1, -1)
    dice = dice_score(*flat, num_classes=classes, average="none", input_format="index", include_background=True)
    assert np.nan_to_num(found.dice) == pytest.approx(np.nan_to_num(dice.numpy().ravel()), abs=1e-6)


def test_seen_unseen_and_harmonic_by_hand():
    matrix = ConfusionMatrix(3)
    matrix.add(np.array([0, 0, 1, 1, 2, 2, IGNORE], np.uint8), np.array([0, 1, 1, 1, 2, 0, 2], np.uint8))
    found = matrix.metrics(taxonomy(3, 1))  # class 0 unseen: IoU 1/3; seen: 2/3 and 1/2
    assert found.iou == pytest.approx((1 / 3, 2 / 3, 1 / 2))
    assert found.miou_unseen == pytest.approx(1 / 3)
    assert found.miou_seen == pytest.approx(7 / 12)
    assert found.hiou == pytest.approx(2 * (7 / 12) * (1 / 3) / (7 / 12 + 1 / 3))
    assert found.pacc == pytest.approx(4 / 6)


def test_a_class_in_neither_truth_nor_prediction_is_undefined():
    matrix = ConfusionMatrix(3)
    matrix.add(np.array([0, 1], np.uint8), np.array([0, 1], np.uint8))
    found = matrix.metrics(taxonomy(3, 1))
    assert math.isnan(found.iou[2])
    assert found.miou_seen == 1


@pytest.mark.parametrize(("seen", "unseen", "expected"), [(0.4, 0.6, 0.48), (0.0, 0.0, 0.0), (0.5, math.nan, 0.5)])
def test_harmonic_mean(seen: float, unseen: float, expected: float):
    assert harmonic_mean(seen, unseen) == pytest.approx(expected)


def test_a_pixel_without_a_class_is_wrong():
    matrix = ConfusionMatrix(3)
    matrix.add(np.array([1, 1, 2, IGNORE], np.uint8), np.array([1, IGNORE, 2, IGNORE], np.uint8))
    found = matrix.metrics(taxonomy(3, 1))
    assert found.iou[1:] == pytest.approx((1 / 2, 1))
    assert found.pacc == pytest.approx(2 / 3)
