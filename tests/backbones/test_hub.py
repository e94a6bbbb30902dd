"""Loading by hub id against a local server that speaks the hub's protocol."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hub_server import COMMIT, LARGE, HubServer, folder_files, hub_server
from tests.patience import PATIENCE
from tiny_clip import save_tiny_clip

from aczerots.backbones.base import Backbone
from aczerots.backbones.locate import locate_backbone
from aczerots.errors import InputError

MODEL = "lab/tiny-clip"
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    content = folder_files(save_tiny_clip(tmp_path_factory.mktemp("hub") / "clip"))
    assert len(content[WEIGHTS]) >= LARGE > len(content["config.json"])
    return content | {"pytorch_model.bin": b"a pickle", "README.md": b"hello"}


@pytest.fixture
def hub(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with a tiny CLIP, and an empty local cache."""
    from huggingface_hub import constants

    with hub_server(MODEL, dict(files)) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", running.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
            monkeypatch.setattr(constants, name, PATIENCE)
        yield running


def load(revision: str = "") -> Backbone:
    return locate_backbone(f"hf:{MODEL}{revision}")


def refused(revision: str = "") -> str:
    with pytest.raises(InputError) as caught:
        load(revision)
    assert "\n" not in str(caught.value)
    assert caught.value.fix
    return str(caught.value)


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.slow
def test_a_download_is_pinned_and_takes_only_what_is_used(hub: HubServer):
    assert load().info.revision == COMMIT
    assert hub.sent(WEIGHTS) == [None]
    assert hub.sent("pytorch_model.bin") == []
    assert hub.sent("README.md") == []
    hub.requests.clear()
    assert load(f"@{COMMIT}").info.revision == COMMIT
    assert hub.sent(WEIGHTS) == []


def test_it_gives_the_numbers_of_the_folder(hub: HubServer, tmp_path: Path):
    local = locate_backbone(f"hf:{save_tiny_clip(tmp_path / 'clip')}")
    assert load().encode_text(["tumor"]).equal(local.encode_text(["tumor"]))


@pytest.mark.slow
def test_a_download_that_breaks_off_goes_on_where_it_stopped(
    hub: HubServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1024)
    hub.cut.add(WEIGHTS)
    with caplog.at_level(logging.ERROR, logger="huggingface_hub"):
        assert load().info.revision == COMMIT
    first, second = hub.sent(WEIGHTS)
    assert first is None
    assert second is not None
    assert 0 < int(second.removeprefix("bytes=").split("-")[0]) < len(hub.files[WEIGHTS])


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_file_with_a_wrong_hash_is_removed_and_said(hub: HubServer, tmp_path: Path, name: str):
    hub.corrupt.add(name)
    message = refused()
    assert f"{name} was damaged on the way" in message
    assert "run the same command again" in message
    assert not [p for p in tmp_path.rglob(name) if p.exists()]
    hub.corrupt.clear()
    assert load().info.revision == COMMIT
    assert len(hub.sent(name)) == 2


def test_a_gated_model_says_what_to_do(hub: HubServer):
    hub.gated = True
    message = refused()
    assert "access is refused" in message
    assert f"Accept its terms at https://huggingface.co/{MODEL}" in message
    assert "hf auth login" in message


def test_a_model_or_revision_that_is_not_there(hub: HubServer):
    assert "has no revision 'v9'" in refused("@v9")
    with pytest.raises(InputError, match="no such model, or private"):
        locate_backbone("hf:lab/other")


def test_offline_without_and_with_a_copy(hub: HubServer, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        offline(patch)
        message = refused()
        assert "not in the local cache" in message
        assert "unset HF_HUB_OFFLINE" in message
        assert hub.requests == []
    load()
    hub.requests.clear()
    offline(monkeypatch)
    assert load().info.revision == COMMIT
    assert hub.requests == []


def test_a_hub_that_is_down_without_and_with_a_copy(hub: HubServer):
    hub.down = True
    assert "cannot be downloaded and is not in the local cache" in refused()
    hub.down = False
    load()
    hub.down = True
    assert load().info.revision == COMMIT


@pytest.mark.slow
def test_the_variables_of_the_hubs_library_count(hub: HubServer, tmp_path: Path):
    """In a process of its own, since the library reads them when it is imported."""
    code = "import sys; from aczerots.cli.app import main; main(sys.argv[1:])"
    free = {k: v for k, v in os.environ.items() if k not in {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}}
    env = free | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "ACZEROTS_CACHE": str(tmp_path / "c")}
    call = [sys.executable, "-c", code, "embed", "phantom:3,size=64", "--tile-size", "32"]
    done = subprocess.run(
        [*call, "--backbone", f"hf:{MODEL}"], env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Computed 17 tiles")
    assert hub.sent(WEIGHTS) == [None]
