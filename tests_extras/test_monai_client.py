"""MONAI Label's own Python client works against our server, as the package from PyPI is."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.patience import wait_until
from tests.server.small_project import PICKS, TOKENS, SmallProject, serving, small_round

from aczerots.taxonomy import IGNORE

# The client leaves its connections to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

if sys.version_info >= (3, 13):
    pytest.skip("the client needs the module cgi, which Python 3.13 has no more", allow_module_level=True)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[SmallProject]:
    with small_round(tmp_path) as made:
        yield made


@pytest.fixture
def client(project: SmallProject, tmp_path: Path) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # cgi
        from monailabel.client import MONAILabelClient
    with serving(project) as address:
        # Without a folder of its own it writes to /tmp and leaves the files there.
        yield MONAILabelClient(f"{address}/monai/{TOKENS['ada']}", tmpdir=str(tmp_path))


@pytest.fixture
def failure(client: Any) -> type[Exception]:
    del client
    from monailabel.client.client import MONAILabelClientException

    found: type[Exception] = MONAILabelClientException
    return found


def test_a_round_as_the_documents_show_it(client: Any, project: SmallProject) -> None:
    info = client.info()
    assert info["models"]["aczerots"]["labels"] == {n: i + 1 for i, n in enumerate(project.taxonomy.names)}
    for done, position in enumerate(PICKS):
        sample = client.next_sample("aczerots", {})
        box = project.pool[position].box
        assert sample["bbox"] == [box.x, box.y, box.width, box.height]
        mask, about = client.infer("aczerots", sample["id"], {})
        assert about["label_names"] == info["labels"]
        assert Path(mask).name == f"{sample['id']}.png"
        with Image.open(mask) as opened:
            assert opened.size == (box.width, box.height)
        assert client.save_label(sample["id"], mask, tag="final")["answers"] == 1
        assert client.info()["datastore"]["completed"] == done + 1
    assert client.next_sample("aczerots", {}) == {}
    for position in PICKS:
        np.testing.assert_array_equal(project.store.answers.masks()[position], project.truth(position))
        assert [(a.author, a.tool) for a in project.store.answers.history(position)] == [("ada", "monai label")]


def test_what_was_drawn_by_hand_and_the_same_file_again(client: Any, project: SmallProject, tmp_path: Path) -> None:
    sample = client.next_sample("aczerots", {})
    tile = project.pool[PICKS[0]]
    drawn = np.zeros((tile.box.height, tile.box.width), np.uint8)
    drawn[5:20, 7:30] = 1 + project.taxonomy.seen_ids[0]
    Image.fromarray(drawn).save(tmp_path / "by hand.png")
    assert client.save_label(sample["id"], str(tmp_path / "by hand.png"))["answers"] == 1
    assert client.save_label(sample["id"], str(tmp_path / "by hand.png"))["unchanged"] == 1
    kept = project.store.answers.masks()[PICKS[0]][tile.inner]
    np.testing.assert_array_equal(kept, np.where(drawn > 0, project.taxonomy.seen_ids[0], IGNORE))


def test_the_datastore_and_its_files(client: Any, project: SmallProject, tmp_path: Path) -> None:
    assert len(client.datastore()["objects"]) == len(PICKS)
    sample = client.next_sample("aczerots", {})
    mask, _ = client.infer("aczerots", sample["id"], {})
    client.save_label(sample["id"], mask)
    entry = client.datastore()["objects"][sample["id"]]
    assert entry["labels"]["tags"] == {"final": {}}
    back = client.download_label(sample["id"], "final")
    with Image.open(back) as again, Image.open(mask) as sent:
        seen = 1 + np.array(project.taxonomy.seen_ids)
        expected = np.where(np.isin(np.array(sent), seen), np.array(sent), 0)
        np.testing.assert_array_equal(np.array(again), expected)
    (tmp_path / "x.png").write_bytes(b"its pixels are here already")
    assert client.upload_image(str(tmp_path / "x.png"), sample["id"]) == {"image": sample["id"]}


def test_training_starts_and_stops(client: Any, project: SmallProject, failure: type[Exception]) -> None:
    assert not client.auth_enabled()
    gate = project.hold_next()
    assert client.train_start("aczerots", {"epochs": 3})["status"] == "RUNNING"
    assert client.train_status(check_if_running=True)
    with pytest.raises(failure):
        client.train_start("aczerots", {})
    client.train_stop()
    gate.set()
    wait_until(lambda: not client.train_status(check_if_running=True))
    assert client.train_status()["status"] == "ERROR"
    client.train_start("aczerots", {})
    wait_until(lambda: not client.train_status(check_if_running=True))
    assert client.train_status()["status"] == "DONE"
    assert len(project.store.rounds.all()) == len(PICKS)


def test_refusals_reach_the_user_as_sentences(client: Any, failure: type[Exception], tmp_path: Path) -> None:
    sample = client.next_sample("aczerots", {})
    Image.fromarray(np.ones((3, 3), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(failure) as refused:
        client.save_label(sample["id"], str(tmp_path / "small.png"))
    assert "the mask is 3 x 3" in refused.value.msg  # type: ignore[attr-defined]  # the client's own exception
    client.set_server_url(client.get_server_url() + "x")
    with pytest.raises(failure) as refused:
        client.info()
    assert refused.value.status_code == 401  # type: ignore[attr-defined]  # the client's own exception
