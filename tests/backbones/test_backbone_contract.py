"""Every backbone, and the one that CONTRIBUTING.md shows, keeps the contract. A new backbone adds one entry here."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from backbone_contract import CHECKS, SENTENCES, Check, check_backbone, images
from tests.test_docs import blocks
from tiny_clip import save_tiny_clip
from tiny_conch import save_tiny_conch
from tiny_keep import save_tiny_keep
from tiny_siglip import save_tiny_siglip

from aczerots.backbones.base import Backbone
from aczerots.backbones.embedded import load_embedded
from aczerots.backbones.locate import GROUP, locate_backbone

BACKBONES: dict[str, Callable[[Path], Backbone]] = {
    "clip": lambda folder: locate_backbone(f"hf:{save_tiny_clip(folder)}"),
    "clip qq+kk whole": lambda folder: locate_backbone(f"hf:{save_tiny_clip(folder)}#qq+kk,whole"),
    "siglip": lambda folder: locate_backbone(f"hf:{save_tiny_siglip(folder)}"),
    "siglip qq": lambda folder: locate_backbone(f"hf:{save_tiny_siglip(folder)}#qq"),
    "conch": lambda folder: locate_backbone(f"conch:{save_tiny_conch(folder)}"),
    "keep": lambda folder: locate_backbone(f"keep:{save_tiny_keep(folder)}"),
    "embedded": lambda folder: load_embedded(),
}

Opener = Callable[[], Backbone]


_SLOW = {"clip", "clip qq+kk whole"}


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.slow if name in _SLOW else ()) for name in BACKBONES]
)
def opener(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opener:
    """Opens the same backbone anew."""
    folder = tmp_path_factory.mktemp("model")
    return lambda: BACKBONES[request.param](folder)


@pytest.fixture(scope="module")
def pair(opener: Opener) -> tuple[Backbone, Backbone]:
    return opener(), opener()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_keeps_the_contract(check: Check, pair: tuple[Backbone, Backbone]) -> None:
    check(*pair)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_gives_the_same(opener: Opener, pair: tuple[Backbone, Backbone]) -> None:
    backbone, on_gpu = pair[0], opener().to("cuda")
    pixels = images(2, 3, 64, 48)
    expected, features = backbone.encode_image(pixels), on_gpu.encode_image(pixels.cuda())
    assert features.aligned.device.type == features.layers.device.type == "cuda"
    torch.testing.assert_close(features.aligned.cpu(), expected.aligned, atol=1e-3, rtol=0)
    torch.testing.assert_close(on_gpu.encode_text(SENTENCES).cpu(), backbone.encode_text(SENTENCES), atol=1e-3, rtol=0)


def test_the_example_of_contributing_keeps_the_contract(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As written: its code in the file that its entry point names, opened by its locator."""
    page = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = page.split("\n## Add a backbone\n")[1].split("\n## ")[0]
    text = {block.language: block.text for block in blocks(section, "CONTRIBUTING.md")}
    kind, value = text["toml"].splitlines()[1].split(" = ")
    point = EntryPoint(kind, value.strip('"'), GROUP)
    file = tmp_path.joinpath(*point.module.split(".")).with_suffix(".py")
    file.parent.mkdir()
    file.write_text(text["python"], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("aczerots.backbones.locate.entry_points", lambda **named: [point] * (named["name"] == kind))
    check_backbone(lambda: locate_backbone(f"{kind}:any"))
