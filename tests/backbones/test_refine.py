"""Refining with a vision-only model: by hand on two colours, and with tiny models of transformers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny_clip import save_tiny_clip
from tiny_dino import PATCHES, WIDTH, save_tiny_dino

from aczerots.backbones.hf_files import VISION_ONLY
from aczerots.backbones.locate import locate_backbone, locate_helper
from aczerots.backbones.options import BackboneOptions
from aczerots.backbones.refine import Helper, gather_alike
from aczerots.errors import InputError, SettingsError


def images(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_two_colours_by_hand():
    """Each cell becomes the mean of its pair.

    Features a a b b with cosine 0: A is 1 inside a pair and 0 across, its mean 1/2, so B = 3 (1 - 0.6) = 1.2 inside
    and below zero across.
    """
    features = torch.tensor([[2.0, 0], [1, 0], [0, 3], [0, 1]]).T.reshape(1, 2, 2, 2)
    values = torch.tensor([1.0, 3, 10, 20]).reshape(1, 1, 2, 2)
    expected = torch.tensor([2.0, 2, 15, 15]).reshape(1, 1, 2, 2)
    torch.testing.assert_close(gather_alike(values, features), expected)


def test_a_third_cell_between_by_hand():
    """Angles 0, 60, 90 degrees: cosines 1/2, 0 and sqrt(3)/2; sums over 9 entries: 3 + 2 (1/2 + 0 + sqrt(3)/2)."""
    angles = torch.deg2rad(torch.tensor([0.0, 60, 90]))
    features = torch.stack([angles.cos(), angles.sin()]).reshape(1, 2, 1, 3)
    mean = (3 + 2 * (0.5 + math.sqrt(3) / 2)) / 9
    shift = 1.2 * mean
    assert 0.5 < shift < math.sqrt(3) / 2  # so only the second and third see each other
    same, other = math.exp(3 * (1 - shift)), math.exp(3 * (math.sqrt(3) / 2 - shift))
    share = same / (same + other)
    values = torch.tensor([[1.0, 5, 9]]).reshape(1, 1, 1, 3)
    expected = torch.tensor([1.0, share * 5 + (1 - share) * 9, share * 9 + (1 - share) * 5]).reshape(1, 1, 1, 3)
    torch.testing.assert_close(gather_alike(values, features), expected)


def test_featureless_images_stay_as_they_are():
    """All affinities are 1 and the mean is 1, so every shifted one is below zero but a cell's own is kept."""
    values = torch.rand(1, 4, 3, 3)
    torch.testing.assert_close(gather_alike(values, torch.ones(1, 2, 3, 3)), values)


@torch.no_grad()
@pytest.mark.parametrize("kind", VISION_ONLY)
def test_patch_features_are_those_of_transformers(kind, tmp_path):
    import transformers

    folder, stride = save_tiny_dino(tmp_path, kind), PATCHES[kind]
    helper = locate_helper(f"hf:{folder}")
    assert isinstance(helper, Helper)
    assert (helper.info.stride, helper.info.dim) == (stride, WIDTH)
    pixels = images(2, 3, 3 * stride, 2 * stride)
    model = getattr(transformers, VISION_ONLY[kind]).from_pretrained(folder).eval()
    options = {"interpolate_pos_encoding": True} if kind == "vit" else {}
    tokens = model((pixels / 255 - 0.5) / 0.25, **options).last_hidden_state
    extra = 1 + (getattr(model.config, "num_register_tokens", 0) or 0)
    assert tokens.shape[1] == extra + 6
    found = helper.encode_patches(pixels)
    torch.testing.assert_close(found, tokens[:, extra:].mT.reshape(2, WIDTH, 3, 2), atol=1e-5, rtol=1e-5)
    assert helper.encode_patches(images(1, 3, stride + 1, 5)).shape == (1, WIDTH, 2, 1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return save_tiny_clip(tmp_path_factory.mktemp("clip")), save_tiny_dino(tmp_path_factory.mktemp("dino"))


@pytest.mark.parametrize("main", ["clip", "embedded"])
def test_refined_features(main, folders):
    clip, dino = folders
    locator = "embedded" if main == "embedded" else f"hf:{clip}#qq+kk"
    plain = locate_backbone(locator)
    refined = locate_backbone(locator, options=BackboneOptions(refine_with=f"hf:{dino}"))
    pixels = images(2, 3, 40, 32)
    before, after = plain.encode_image(pixels), refined.encode_image(pixels)
    assert after.aligned.shape[2:] == after.layers.shape[2:] == (3, 3)
    z = F.interpolate(before.aligned, size=(3, 3), mode="bilinear", align_corners=False)
    f = locate_helper(f"hf:{dino}").encode_patches(pixels)
    expected = F.normalize(gather_alike(z, f), dim=1)
    torch.testing.assert_close(after.aligned, expected, atol=1e-5, rtol=0)
    assert torch.equal(refined.encode_text(["fat"]), plain.encode_text(["fat"]))


@pytest.mark.slow
def test_hash_covers_both_models(folders, tmp_path):
    clip, dino = folders
    other = save_tiny_dino(tmp_path, patch=16)

    def hashed(helper: Path | None) -> str:
        return locate_backbone(f"hf:{clip}", options=BackboneOptions(refine_with=helper and f"hf:{helper}")).info.hash

    assert len({hashed(None), hashed(dino), hashed(other)}) == 3
    assert hashed(dino) == hashed(dino)


def test_what_cannot_help_is_refused(folders):
    clip, dino = folders
    with pytest.raises(InputError, match=r"of type 'clip'.*belongs to --backbone"):
        locate_helper(f"hf:{clip}")
    with pytest.raises(SettingsError, match="no dense method"):
        locate_helper(f"hf:{dino}#qq")
    with pytest.raises(SettingsError, match="unknown helper 'embedded'"):
        locate_helper("embedded")
    with pytest.raises(InputError, match=r"vision-only model .dinov2.*--refine-with hf:"):
        locate_backbone(f"hf:{dino}")
