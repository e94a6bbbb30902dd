"""Stain of a slide: what is measured, and that images count as parts of one."""

import numpy as np
import pytest
import torch

from aczerots.backbones.embedded import load_embedded
from aczerots.backbones.embedded.morphology import optical_density
from aczerots.backbones.embedded.stain import USUAL_OD, Stain, measure_stain
from aczerots.datasets.phantom.slide import SlideRecipe, generate


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    """RGB uint8 [1, 3, 448, 448]."""
    return torch.from_numpy(generate(SlideRecipe(3, 1, (448, 448), 0.5))[0]).movedim(-1, 0)[None]


def test_stain_by_hand() -> None:
    """Half of the tiles are glass: white 1, usual density. The others at 63: white 0.75, density log10(0.75 * 4)."""
    sample = torch.full((4, 3, 64, 64), 255, dtype=torch.uint8)
    sample[:2] = 63
    stain = measure_stain(sample)
    assert stain.white == (0.875, 0.875, 0.875)
    assert stain.density == pytest.approx([(np.log10(3) + usual) / 2 for usual in USUAL_OD], abs=1e-4)


def test_one_image_of_a_slide_of_itself_is_seen_as_it_is_alone(picture: torch.Tensor) -> None:
    alone = optical_density(picture)
    own = optical_density(picture, measure_stain(picture))
    assert torch.allclose(alone, own, atol=2e-3)


def test_parts_of_a_slide_are_measured_alike(picture: torch.Tensor) -> None:
    """A pixel has one density, whatever part of the slide is looked at; by itself each part has its own."""
    stain = measure_stain(picture)
    whole = optical_density(picture, stain)[..., :224]
    assert torch.equal(optical_density(picture[..., :224], stain), whole)
    assert not torch.allclose(optical_density(picture[..., :224]), whole, atol=1e-2)


def test_the_stain_is_part_of_the_hash_of_the_backbone(picture: torch.Tensor) -> None:
    plain = load_embedded()
    one, other = plain.on_slide(picture), plain.on_slide(picture.clamp(max=200))
    assert len({plain.info.hash, one.info.hash, other.info.hash}) == 3
    assert one.info.hash == plain.on_slide(picture).info.hash
    assert plain.info.stain == ""
    assert Stain((1.0,) * 3, (0.3,) * 3).hash != Stain((1.0,) * 3, (0.31,) * 3).hash


def test_middle_of_a_large_window_does_not_depend_on_the_window(picture: torch.Tensor) -> None:
    """Cells at least the reach away from the rim; windows moved by a multiple of 64 pixels differ by rounding only."""
    backbone = load_embedded().on_slide(picture)
    rim = load_embedded().reach // 16
    whole = backbone.encode_image(picture).aligned[0]
    part = backbone.encode_image(picture[..., 64:, 64:]).aligned[0]
    inner = slice(rim, part.shape[-1] - rim)
    same = (whole[:, 4:, 4:][:, inner, inner] * part[:, inner, inner]).sum(dim=0)
    assert same.min() > 0.98
    assert same.mean() > 0.999
