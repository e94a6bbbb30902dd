"""Extras that are not installed, and locators that lead nowhere, are one sentence each."""

from __future__ import annotations

from importlib import util
from pathlib import Path

import pytest

from aczerots.backbones.locate import FAMILIES, locate_backbone, locate_helper
from aczerots.errors import AczerotsError, InputError, MissingExtraError

EXTRAS = {"conch": "conch", "keep": "hf", "musk": "musk", "open_clip": "open-clip"}
LIBRARIES = ("huggingface_hub", "open_clip", "sentencepiece", "timm", "tokenizers", "transformers")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no library of any extra were installed."""
    found = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name in LIBRARIES else found(name))


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_missing_extra_is_named(kind: str, repository: Path) -> None:
    with pytest.raises(MissingExtraError) as caught:
        locate_backbone(f"{kind}:some/model")
    assert f"pip install 'aczerots[{EXTRAS[kind]}]'" in str(caught.value)
    assert f"\n{EXTRAS[kind]} = [" in (repository / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.usefixtures("bare")
def test_a_missing_extra_of_a_helper_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"aczerots\[timm\]"):
        locate_helper("timm:some/model")


@pytest.mark.parametrize("kind", ["conch", "keep"])
def test_an_empty_folder_says_what_is_missing(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no weights\. Expected model\.safetensors or pytorch_model\.bin in"):
        locate_backbone(f"{kind}:{tmp_path}")
    with pytest.raises(InputError, match="is not a folder"):
        locate_backbone(f"{kind}:{tmp_path}/nowhere")


@pytest.mark.parametrize("locator", ["conch:", "keep:", "open_clip", "musk"])
def test_a_kind_without_a_source_is_refused(locator: str) -> None:
    with pytest.raises(AczerotsError, match="unknown backbone"):
        locate_backbone(locator)
