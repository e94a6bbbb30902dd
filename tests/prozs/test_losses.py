"""Losses against hand-worked values."""

import math

import pytest
import torch

from aczerots.prozs import losses
from aczerots.taxonomy import IGNORE, NO_SEEN


def two_pixels() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and targets [1, 2, 1, 2]: pixel 0 is class 0 with p = 3/4, pixel 1 is not annotated."""
    logits = torch.tensor([math.log(3.0), 5.0, 0.0, -5.0]).view(1, 2, 1, 2)
    targets = torch.tensor([1.0, 0.0, 0.0, 0.0]).view(1, 2, 1, 2)
    return logits, targets


def test_soft_targets_average_the_labelled_pixels_of_a_cell():
    labels = torch.tensor([[0, 0, 1, IGNORE], [0, 1, IGNORE, IGNORE]], dtype=torch.uint8)[None]
    found = losses.soft_targets(labels, 2, (1, 2))
    assert found[0, :, 0, 0].tolist() == [0.75, 0.25]
    assert found[0, :, 0, 1].tolist() == [0.0, 0.25]


def test_soft_targets_at_full_resolution_are_one_hot():
    labels = torch.tensor([[[2, IGNORE]]], dtype=torch.uint8)
    found = losses.soft_targets(labels, 3, (1, 2))
    assert found[0, :, 0, 0].tolist() == [0, 0, 1]
    assert found[0, :, 0, 1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("side", "cells"), [((12, 20), (3, 5)), ((13, 20), (3, 5)), ((7, 7), (7, 7)), ((8, 6), (1, 6))]
)
def test_soft_targets_are_averages_of_one_mask_per_class(side: tuple[int, int], cells: tuple[int, int]):
    ids = torch.tensor([0, 1, 2, NO_SEEN, IGNORE], dtype=torch.uint8)
    labels = ids[torch.randint(len(ids), (4, *side), generator=torch.Generator().manual_seed(0))]
    masks = torch.stack([labels == i for i in (0, 1, 2, NO_SEEN)], dim=1).float()
    expected = torch.nn.functional.adaptive_avg_pool2d(masks, cells)
    torch.testing.assert_close(losses.soft_targets(labels, 3, cells), expected[:, :3])
    torch.testing.assert_close(losses.complementary_mass(labels, cells), expected[:, 3:])


def test_cross_entropy_counts_only_annotated_pixels():
    logits, targets = two_pixels()
    assert losses.cross_entropy(logits, targets, torch.ones(2)).item() == pytest.approx(-math.log(0.75))


def test_cross_entropy_is_zero_without_annotation():
    logits, targets = two_pixels()
    assert losses.cross_entropy(logits, targets * 0, torch.ones(2)).item() == 0


def test_dice_by_hand():
    # Class 0 alone is labelled: overlap 0.75, prediction 0.75, truth 1.
    logits, targets = two_pixels()
    assert losses.dice(logits, targets).item() == pytest.approx(1 - 2 * 0.75 / 1.75, abs=1e-6)


def test_focal_by_hand():
    logits, targets = two_pixels()
    assert losses.focal(logits, targets).item() == pytest.approx(-(0.25**2) * math.log(0.75), rel=1e-5)


def test_contrast_by_hand():
    # Features (1, 0) and (0, 1), one pixel a class: each is its own centroid, inner products 1 and 0.
    phi = torch.eye(2).view(1, 2, 1, 2)
    targets = torch.eye(2).view(1, 2, 1, 2)
    expected = -math.log(math.exp(2.0) / (math.exp(2.0) + 1))
    assert losses.contrast(phi, targets, temperature=0.5).item() == pytest.approx(expected, rel=1e-6)


def test_contrast_needs_two_classes():
    phi, targets = torch.rand(1, 3, 2, 2), torch.zeros(1, 2, 2, 2)
    targets[:, 0] = 1
    assert losses.contrast(phi, targets, 1.0).item() == 0


def test_keep_is_the_kl_divergence_on_free_pixels():
    logits = torch.tensor([0.0, 7.0, 0.0, 0.0]).view(1, 2, 1, 2)
    reference = torch.tensor([0.9, 0.5, 0.1, 0.5]).view(1, 2, 1, 2)
    weight = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    expected = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert losses.zero_shot_distillation(logits, reference, weight).item() == pytest.approx(expected, rel=1e-5)


def test_excluded_mass_counts_the_pixels_without_a_seen_class():
    labels = torch.tensor([[0, NO_SEEN, 1, IGNORE], [NO_SEEN, NO_SEEN, IGNORE, IGNORE]], dtype=torch.uint8)[None]
    assert losses.complementary_mass(labels, (1, 2))[0, 0, 0].tolist() == [0.75, 0.0]
    assert losses.complementary_mass(labels, (2, 4))[0, 0].tolist() == [[0, 1, 0, 0], [1, 1, 0, 0]]
    assert losses.soft_targets(labels, 2, (1, 2)).sum(dim=1)[0, 0].tolist() == [0.25, 0.25]


def test_exclusion_by_hand():
    # Three classes with p = (1/2, 1/4, 1/4); the first is seen, zero-shot holds the others for 3 to 1.
    logits = torch.tensor([math.log(2.0), 0.0, 0.0]).view(1, 3, 1, 1)
    reference = torch.tensor([0.6, 0.3, 0.1]).view(1, 3, 1, 1)
    seen = torch.tensor([True, False, False])
    known = torch.ones(1, 1, 1, 1)
    assert losses.complementary_label(logits, reference, known, seen).item() == pytest.approx(math.log(4.0))
    shifted = torch.tensor([0.0, math.log(2.0), 0.0]).view(1, 3, 1, 1)
    expected = -(0.75 * math.log(0.5) + 0.25 * math.log(0.25))
    assert losses.complementary_label(shifted, reference, known, seen).item() == pytest.approx(expected)
    assert losses.complementary_label(logits, reference, known * 0, seen).item() == 0
    assert losses.complementary_label(logits, reference, known, torch.ones(3, dtype=torch.bool)).item() == 0


def test_class_weights_favour_rare_classes_within_the_limit():
    weights = losses.class_weights(torch.tensor([400.0, 100.0, 0.0]))
    assert weights[1] / weights[0] == pytest.approx(2.0)
    assert weights[:2].mean() == pytest.approx(1.0)
    assert weights[2] == 1
    assert losses.class_weights(torch.tensor([1e9, 1.0, 1e9, 1e9]), power=1.0, limit=2.0).max() == 2
