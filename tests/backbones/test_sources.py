"""Extras that are not installed, and locators that lead nowhere, are one sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import util
from pathlib import Path

import pytest
import torch
from tests.hub_server import COMMIT, HubServer, folder_files, hub_server
from tiny_keep import keep_state, save_tiny_keep

from aczerots.backbones.locate import FAMILIES, locate_backbone, locate_helper
from aczerots.errors import AczerotsError, InputError, MissingExtraError

EXTRAS = {"hf": "hf", "conch": "conch", "keep": "hf", "musk": "musk", "open_clip": "open-clip"}
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


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with a tiny KEEP in both forms of weights, and an empty local cache."""
    from huggingface_hub import constants

    files = folder_files(save_tiny_keep(tmp_path / "keep")) | {"pytorch_model.bin": b"another form"}
    with hub_server("lab/keep", files) as running:
        template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield running


@pytest.mark.parametrize("prefix", ["", "hf-hub:"])
def test_one_form_of_the_weights_is_downloaded_and_no_code(hub: HubServer, prefix: str) -> None:
    backbone = locate_backbone(f"keep:{prefix}lab/keep")
    assert backbone.info.revision == COMMIT
    assert hub.sent("model.safetensors") == [None]
    assert hub.sent("pytorch_model.bin") == hub.sent("modeling_keep.py") == []


def test_the_other_form_is_downloaded_where_there_is_no_safe_one(hub: HubServer, tmp_path: Path) -> None:
    del hub.files["model.safetensors"]
    torch.save(keep_state(), tmp_path / "weights")
    hub.files["pytorch_model.bin"] = (tmp_path / "weights").read_bytes()
    assert locate_backbone("keep:lab/keep").info.revision == COMMIT
    assert hub.sent("pytorch_model.bin") == [None]


def test_a_gated_model_says_where_to_accept_its_terms(hub: HubServer) -> None:
    hub.gated = True
    with pytest.raises(InputError, match=r"access is refused\. Accept its terms at https://.*/lab/keep, then run"):
        locate_backbone("keep:hf-hub:lab/keep")
