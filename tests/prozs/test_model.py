"""The score of ProZS, the prototype bank, and round 0."""

import math

import pytest
import torch
import torch.nn.functional as F

from aczerots.backbones.base import BackboneInfo, DenseFeatures
from aczerots.prozs.decoder import PaperDecoder
from aczerots.prozs.model import PrototypeScorer
from aczerots.prozs.presets import build_model, locate_preset
from aczerots.prozs.prototypes import PrototypeBank, choose_centres, spherical_kmeans

INFO = BackboneInfo("test", "0", "value", dim=6, layer_dim=5, stride=8, logit_scale=20.0)


def random_grids(batch: int = 2, seed: int = 0) -> DenseFeatures:
    g = torch.Generator().manual_seed(seed)
    aligned = F.normalize(torch.randn(batch, 6, 4, 4, generator=g), dim=1)
    return DenseFeatures(aligned, torch.randn(batch, 5, 4, 4, generator=g))


@pytest.mark.parametrize("preset", ["prozs", "zeroshot"])
def test_round_zero_is_the_zero_shot_segmenter(preset: str):
    text = F.normalize(torch.randn(3, 6, generator=torch.Generator().manual_seed(1)), dim=1)
    model = build_model(locate_preset(preset), INFO, text, torch.tensor([True, True, False]), seed=0)
    grids = random_grids()
    expected = 20.0 * torch.einsum("bdhw,cd->bchw", grids.aligned, text)
    torch.testing.assert_close(model(grids), expected, atol=1e-4, rtol=1e-4)


def test_the_same_seed_builds_the_same_weights_and_leaves_the_global_generator_alone():
    text, seen = torch.eye(6)[:2], torch.tensor([True, False])
    before = torch.get_rng_state()
    one = build_model(locate_preset("paper"), INFO, text, seen, seed=3).state_dict()
    two = build_model(locate_preset("paper"), INFO, text, seen, seed=3).state_dict()
    other = build_model(locate_preset("paper"), INFO, text, seen, seed=4).state_dict()
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["projection.layers.0.weight"], other["projection.layers.0.weight"])
    assert torch.equal(before, torch.get_rng_state())


def test_the_score_by_hand():
    # One drawn class with centres e0 and e1 and n_c = n_0, so a_c = 1/2; one undrawn class with text e2.
    bank = PrototypeBank(2, 3, even=10.0)
    bank.centres[0, :2] = torch.eye(3)[:2]
    bank.used[0, :2] = True
    bank.counts[0] = 10.0
    scorer = PrototypeScorer(bank, kappa=4.0)
    scorer.calibration_bias.fill_(0.5)
    vectors = torch.eye(3)[[0, 2]]
    delta = (torch.tensor([0.5, 0.5, 0.0]) - vectors[0]) * 0.5
    unseen = F.normalize(vectors[1] + delta, dim=0)
    phi = torch.tensor([0.6, 0.8, 0.0]).view(1, 3, 1, 1)
    visual = math.log((math.exp(4 * 0.6) + math.exp(4 * 0.8)) / 2) / 4
    expected = [4 * (0.5 * 0.6 + 0.5 * visual) - 0.5, 4 * float(unseen @ torch.tensor([0.6, 0.8, 0.0]))]
    assert scorer(phi, vectors).flatten().tolist() == pytest.approx(expected, rel=1e-5)


def test_trust_grows_with_the_label_count():
    bank = PrototypeBank(3, 2, even=50.0)
    bank.counts.copy_(torch.tensor([0.0, 50.0, 150.0]))
    assert bank.trust.tolist() == [0.0, 0.5, 0.75]


def test_the_number_of_centres_follows_the_data():
    g = torch.Generator().manual_seed(0)
    corners = torch.eye(8)[:3].repeat_interleave(60, dim=0)
    three = F.normalize(corners + 0.02 * torch.randn(180, 8, generator=g), dim=1)
    one = F.normalize(torch.eye(8)[0] + 0.2 * torch.randn(180, 8, generator=g), dim=1)
    assert len(choose_centres(three, torch.ones(180), g)) == 3
    assert len(choose_centres(one, torch.ones(180), g)) == 1


def test_kmeans_finds_weighted_directions():
    points = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0]]), dim=1)
    centres, fit = spherical_kmeans(points, torch.tensor([1.0, 1.0, 5.0]), 2, torch.Generator().manual_seed(0))
    expected = F.normalize(points[:2].sum(dim=0), dim=0)
    assert min((c - expected).norm().item() for c in centres) < 1e-5
    assert fit == pytest.approx(float((points[0] @ expected + points[1] @ expected + 5) / 7), rel=1e-5)


def test_drift_moves_only_the_nearest_centre():
    bank = PrototypeBank(1, 2, momentum=0.5)
    bank.centres[0, :2] = torch.eye(2)
    bank.used[0, :2] = True
    point = F.normalize(torch.tensor([[1.0, 0.5]]), dim=1)
    bank.ema_update(point, torch.ones(1, 1))
    expected = F.normalize(0.5 * torch.eye(2)[0] + 0.5 * point[0], dim=0)
    torch.testing.assert_close(bank.centres[0, 0], expected)
    assert bank.centres[0, 1].tolist() == [0.0, 1.0]


def test_drift_moves_every_class_by_its_own_points():
    """Three classes: two centres, one, and none; the last point is of no class for the most part."""
    generator = torch.Generator().manual_seed(0)
    bank = PrototypeBank(3, 5, momentum=0.8, most=2)
    before = F.normalize(torch.randn(3, 2, 5, generator=generator), dim=2)
    bank.centres = before.clone()
    bank.used[0], bank.used[1, 0] = True, True
    points = F.normalize(torch.randn(9, 5, generator=generator), dim=1)
    label = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 0])
    share = torch.tensor([1.0, 0.9, 1.0, 0.6, 1.0, 0.7, 1.0, 1.0, 0.4])
    bank.ema_update(points, F.one_hot(label, 3) * share[:, None])
    for c, used in ((0, 2), (1, 1)):
        mine = points[(label == c) & (share > 0.5)]
        owner = (mine @ before[c, :used].T).argmax(dim=1)
        for m in range(used):
            moved = before[c, m]
            if (owner == m).any():
                moved = F.normalize(0.8 * moved + 0.2 * F.normalize(mine[owner == m].sum(dim=0), dim=0), dim=0)
            torch.testing.assert_close(bank.centres[c, m], moved)
    assert torch.equal(bank.centres[1, 1], before[1, 1])
    assert torch.equal(bank.centres[2], before[2])


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_the_paper_decoder_reaches_image_resolution(stride: int):
    decoder = PaperDecoder(layer_dim=7, stride=stride, dim=4).eval()
    grids = DenseFeatures(torch.zeros(1, 2, 2, 3), torch.randn(1, 7, 2, 3))
    assert decoder(grids).shape == (1, 4, 2 * stride, 3 * stride)


def test_the_paper_decoder_refuses_odd_strides():
    with pytest.raises(ValueError, match="power of two"):
        PaperDecoder(layer_dim=7, stride=14)
