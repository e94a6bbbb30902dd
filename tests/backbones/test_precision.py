"""Other precisions and compiling keep the embeddings, within what the format can hold."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from tiny_clip import save_tiny_clip
from tiny_dino import save_tiny_dino

from aczerots.backbones.locate import locate_backbone, locate_device
from aczerots.backbones.options import BackboneOptions
from aczerots.errors import SettingsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


def images() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("precision", "cosine"), [("bf16", 0.99), ("fp16", 0.999)])
def test_reduced_precision_is_near_and_has_a_hash_of_its_own(folder, precision, cosine):
    plain = locate_backbone(f"hf:{folder}")
    tuned = locate_backbone(f"hf:{folder}", options=BackboneOptions(precision=precision))
    before, after = plain.encode_image(images()), tuned.encode_image(images())
    assert after.aligned.dtype == after.layers.dtype == torch.float32
    assert not torch.equal(before.aligned, after.aligned)
    assert (before.aligned * after.aligned).sum(1).min() > cosine
    torch.testing.assert_close(after.aligned.norm(dim=1), torch.ones(2, 4, 4), atol=1e-5, rtol=0)
    assert torch.equal(plain.encode_text(["fat"]), tuned.encode_text(["fat"]))
    assert tuned.info.precision == precision
    assert tuned.info.hash != plain.info.hash


def test_affinities_stay_in_full_precision(folder, tmp_path):
    """Shifted cosines decide what is left out: a rounding there would move the border."""
    helper = f"hf:{save_tiny_dino(tmp_path)}"
    full = locate_backbone(f"hf:{folder}", options=BackboneOptions(refine_with=helper))
    reduced = locate_backbone(f"hf:{folder}", options=BackboneOptions(refine_with=helper, precision="bf16"))
    before, after = full.encode_image(images()), reduced.encode_image(images())
    assert (before.aligned * after.aligned).sum(1).min() > 0.98


def test_built_in_backbone_is_fp32_only():
    with pytest.raises(SettingsError, match="needs fp32"):
        locate_backbone("embedded", options=BackboneOptions(precision="bf16"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # inside torch's own compiler
def test_compiled_is_the_same(folder, monkeypatch):
    """Traced as for compiling but run without a compiler, which would take a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    plain = locate_backbone(f"hf:{folder}")
    compiled = locate_backbone(f"hf:{folder}", options=BackboneOptions(compiled=True))
    torch.testing.assert_close(
        compiled.encode_image(images()).aligned, plain.encode_image(images()).aligned, atol=1e-5, rtol=0
    )
    assert compiled.info.hash == plain.info.hash


def test_device_auto():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert locate_device("auto") == expected or torch.backends.mps.is_available()
    with pytest.raises(SettingsError, match="'cuda:77' is not available"):
        locate_device("cuda:77")
