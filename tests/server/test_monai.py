"""Clients of MONAI Label work against a real server, with their own requests."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from aczerots.annotation.store.records import AnswerKind
from aczerots.taxonomy import IGNORE
from tests.patience import wait_until
from tests.server.monai_clients import PythonClient, QuPathExtension, RefusedError
from tests.server.small_project import PICKS, TOKENS, SmallProject, http_get, http_post, serving

pytestmark = pytest.mark.slow


@pytest.fixture
def address(project: SmallProject) -> Iterator[str]:
    with serving(project) as url:
        yield url


@pytest.fixture
def ada(address: str) -> PythonClient:
    return PythonClient(f"{address}/monai/{TOKENS['ada']}")


@pytest.fixture
def qupath(address: str) -> QuPathExtension:
    return QuPathExtension(f"{address}/monai/{TOKENS['ben']}")


def slide_of(project: SmallProject, position: int) -> str:
    return project.pool[position].slide


def png(mask: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("path", ["/monai/", "/monai/info/", "/monai/wrong/info/", "/monai//info/", "/monai/%00/info/"])
def test_an_address_without_a_valid_token_opens_nothing(address: str, path: str) -> None:
    assert http_get(address + path).status_code == 401
    good = {"Authorization": f"Bearer {TOKENS['ada']}"}
    assert http_get(address + path, headers=good).status_code == 401, "the address says who asks"


def test_the_token_in_the_address_is_as_good_as_a_header(address: str) -> None:
    by_header = http_get(f"{address}/api/monai/info/", headers={"Authorization": f"Bearer {TOKENS['ada']}"})
    assert by_header.json() == http_get(f"{address}/monai/{TOKENS['ada']}/info/").json()
    assert http_get(f"{address}/monai/{TOKENS['ada']}/../../api/project").status_code == 401
    assert http_get(f"{address}/monai/{TOKENS['ada']}/%2e%2e/project").status_code == 404


def test_info_is_what_both_clients_read(ada: PythonClient, project: SmallProject) -> None:
    info = ada.info()
    assert {"name", "description", "version", "labels", "models", "trainers", "strategies"} <= set(info)
    assert info["models"]["aczerots"]["labels"] == {n: i + 1 for i, n in enumerate(project.taxonomy.names)}
    assert isinstance(info["models"]["aczerots"]["dimension"], int)
    assert info["models"]["aczerots"]["nuclick"] is False
    assert list(info["strategies"]) == ["aczerots"]
    assert info["datastore"] == {"total": 3, "completed": 0, "label_tags": {"final": 0}}


def test_a_python_client_goes_through_a_round(ada: PythonClient, project: SmallProject, tmp_path: Path) -> None:
    sample = ada.next_sample("aczerots")
    tile = project.pool[PICKS[0]]
    assert sample["bbox"] == [tile.box.x, tile.box.y, tile.box.width, tile.box.height]
    name, mask, about = ada.infer("aczerots", sample["id"])
    assert name == f"{sample['id']}.png"
    assert about["label_names"] == ada.info()["labels"]
    with Image.open(io.BytesIO(mask)) as opened:
        numbers = np.array(opened)
    truth = project.data[tile.slide].truth.read(tile.box, (tile.box.width, tile.box.height))
    np.testing.assert_array_equal(numbers, truth + np.uint8(1))
    saved = ada.save_label(sample["id"], ("label.png", png(numbers)), tag="final")
    assert (saved["image"], saved["answers"]) == (sample["id"], 1)
    kept = project.store.answers.newest(PICKS[0])
    assert kept is not None
    assert (kept.author, kept.tool, kept.kind, kept.draft is None) == ("ada", "monai label", AnswerKind.DRAWN, False)
    np.testing.assert_array_equal(project.store.answers.masks()[PICKS[0]], project.truth(PICKS[0]))
    assert ada.save_label(sample["id"], ("label.png", png(numbers)))["unchanged"] == 1
    assert len(project.store.answers.history(PICKS[0])) == 1
    assert ada.info()["datastore"]["completed"] == 1
    for position in PICKS[1:]:
        following = ada.next_sample("aczerots")
        box = project.pool[position].box
        assert following["bbox"] == [box.x, box.y, box.width, box.height]
        one = np.ones((box.height, box.width), np.uint8)
        assert ada.save_label(following["id"], ("label.png", png(one)))["answers"] == 1
    assert ada.next_sample("aczerots") == {}


def test_what_counts_as_drawn_can_be_had_for_any_part_of_a_slide(
    address: str, ada: PythonClient, project: SmallProject
) -> None:
    tile = project.pool[PICKS[0]]
    b = tile.box

    def ask(name: str, tag: str = "final") -> httpx.Response:
        return http_get(f"{address}/monai/{TOKENS['ada']}/datastore/label", params={"label": name, "tag": tag})

    part = f"{tile.slide}-patch-{b.x + 10}_{b.y}_{b.width}_{b.height}"
    assert ask(part).status_code == 404, "nothing is drawn yet"
    drawn = np.random.default_rng(0).choice(np.array([0, 1, 2], np.uint8), (b.height, b.width))
    ada.save_label(ada.next_sample("aczerots")["id"], ("label.png", png(drawn)))
    for name, left in ((part, 10), (f"{tile.slide}-patch-{b.x}_{b.y}_{b.width}_{b.height}", 0)):
        with Image.open(io.BytesIO(ask(name).content)) as opened:
            got = np.array(opened)
        np.testing.assert_array_equal(got[:, : b.width - left], drawn[:, left:])
        assert (got[:, b.width - left :] == 0).all()
    assert ask(part, "original").status_code == 422
    assert ask("elsewhere").status_code == 404


def test_images_are_those_of_the_project(address: str, ada: PythonClient, project: SmallProject) -> None:
    sample = ada.next_sample("aczerots")
    tile = project.pool[PICKS[0]]
    got = http_get(f"{address}/monai/{TOKENS['ada']}/datastore/image", params={"image": sample["id"]})
    with Image.open(io.BytesIO(got.content)) as opened:
        pixels = np.array(opened)
    slide = project.data[tile.slide].slide
    np.testing.assert_array_equal(pixels, slide.read(tile.box, (tile.box.width, tile.box.height)))
    whole = http_get(f"{address}/monai/{TOKENS['ada']}/datastore/image", params={"image": tile.slide})
    assert whole.content == project.file(tile.slide).read_bytes()
    assert ada.upload_image(sample["id"], ("x.png", b"its pixels are here already")) == {"image": sample["id"]}
    for name in ("elsewhere", "../project.sqlite", "/etc/passwd", "x-patch-0_0_5_5", f"{tile.slide}-patch-0_0_5"):
        with pytest.raises(RefusedError, match="404"):
            ada.upload_image(name, ("x.png", b"x"))
        answer = http_get(f"{address}/monai/{TOKENS['ada']}/datastore/image", params={"image": name})
        assert answer.status_code == 404
    with pytest.raises(RefusedError, match="outside of the slide"):
        ada.infer("aczerots", f"{tile.slide}-patch-900_0_10_10")


def test_qupath_goes_through_a_round(qupath: QuPathExtension, project: SmallProject) -> None:
    image = slide_of(project, PICKS[0])
    size = project.data[image].slide.size
    assert qupath.image_exists(image)
    assert not qupath.image_exists("unknown")
    name, box = qupath.next_patch("aczerots", image, size)
    tile = project.pool[PICKS[0]]
    assert (name, box) == (image, [tile.box.x, tile.box.y, tile.box.width, tile.box.height])
    drafts = qupath.infer("aczerots", image, box)
    assert {title for title, _ in drafts} <= set(project.taxonomy.names)
    saved = qupath.submit(image, drafts, box)
    assert saved["answers"] == 1
    kept = project.store.answers.masks()[PICKS[0]]
    truth = project.truth(PICKS[0])
    small = (kept != truth) & (kept == IGNORE)
    np.testing.assert_array_equal(kept[~small], truth[~small])
    assert small.mean() < 0.02, "areas under 30 pixels are left out"
    answer = project.store.answers.newest(PICKS[0])
    assert answer is not None
    assert (answer.author, answer.tool) == ("ben", "monai label")
    assert qupath.submit(image, drafts, box)["unchanged"] == 1


def test_a_whole_slide_that_is_submitted_leaves_others_answers_alone(
    qupath: QuPathExtension, ada: PythonClient, project: SmallProject
) -> None:
    sample = ada.next_sample("aczerots")
    tile = project.pool[PICKS[0]]
    drawn = np.full((tile.box.height, tile.box.width), 1, np.uint8)
    ada.save_label(sample["id"], ("label.png", png(drawn)))
    image, b = tile.slide, tile.box
    everywhere: list[tuple[float, float]] = [(0, 0), (200, 0), (200, 200), (0, 200)]
    other = project.taxonomy.names[1]
    found = qupath.submit(image, [(other, everywhere)], None)
    same_slide = [i for i in PICKS if project.pool[i].slide == image]
    assert (found["answers"], found["stale"]) == (len(same_slide) - 1, 1)
    newest = project.store.answers.newest(PICKS[0])
    assert newest is not None
    assert newest.author == "ada"
    assert [r.author for r in project.store.answers.refused()] == ["ben"]
    found = qupath.submit(image, [(other, everywhere)], [b.x, b.y, b.width, b.height])
    assert found["answers"] == 1, "a rectangle was meant"
    assert (project.store.answers.masks()[PICKS[0]][tile.inner] == 1).all()


def test_the_unseen_class_may_be_drawn_around_and_is_not_annotated(
    qupath: QuPathExtension, project: SmallProject
) -> None:
    tile = project.pool[PICKS[0]]
    b = tile.box
    whole: list[tuple[float, float]] = [
        (b.x, b.y),
        (b.x + b.width, b.y),
        (b.x + b.width, b.y + b.height),
        (b.x, b.y + b.height),
    ]
    inner: list[tuple[float, float]] = [
        (b.x + 8, b.y + 8),
        (b.x + 20, b.y + 8),
        (b.x + 20, b.y + 18),
        (b.x + 8, b.y + 18),
    ]
    seen = project.taxonomy.names[0]
    qupath.submit(tile.slide, [(seen, whole), ("necrosis", inner)], [b.x, b.y, b.width, b.height])
    mask = project.store.answers.masks()[PICKS[0]][tile.inner]
    assert (mask[8:18, 8:20] == IGNORE).all()
    assert int((mask == 0).sum()) == b.area - 120


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", "neither an ASAP file"),
        (b"\x1f\x8b nifti", "neither an ASAP file"),
        (b"<html/>", "begins with <html>"),
        (b"\x89PNG broken", "cannot be read"),
        (png(np.ones((3, 3), np.uint8)), "the mask is 3 x 3"),
        (png(np.full((64, 64), 77, np.uint8)), "has the number 77"),
        (png(np.zeros((64, 64), np.uint8)), "nothing was drawn"),
    ],
)
def test_bad_labels_are_refused_and_nothing_is_changed(
    ada: PythonClient, project: SmallProject, file: bytes, message: str
) -> None:
    ada.next_sample("aczerots")
    tile = project.pool[PICKS[0]]
    with pytest.raises(RefusedError, match=message) as refused:
        ada.save_label(f"{tile.slide}-patch-0_0_64_64", ("label.png", file))
    assert refused.value.status == 422
    assert project.store.answers.counting() == []


def test_unknown_names_are_refused(ada: PythonClient, qupath: QuPathExtension, project: SmallProject) -> None:
    for ask in (
        lambda: ada.next_sample("random"),
        lambda: ada.infer("deepedit", "x"),
        lambda: ada.infer("aczerots", "x"),
        lambda: ada.train_start("deepedit"),
        ada.train_status,
        ada.train_stop,
        lambda: qupath.next_patch("aczerots", "x", (1, 1)),
    ):
        with pytest.raises(RefusedError) as refused:
            ask()
        assert refused.value.status == 404
    with pytest.raises(RefusedError, match="the tag"):
        ada.save_label(slide_of(project, 1), ("l.xml", b"<a/>"), tag="original")


def test_training_is_fitting_and_can_be_stopped(ada: PythonClient, project: SmallProject) -> None:
    gate = project.hold_next()
    started = ada.train_start("aczerots")
    assert (started["status"], started["model"]) == ("RUNNING", "aczerots")
    assert ada.train_running()
    with pytest.raises(RefusedError, match="409"):
        ada.train_start("aczerots")
    ada.train_stop()
    gate.set()
    wait_until(lambda: not ada.train_running())
    assert ada.train_status()["status"] == "ERROR"
    assert "ada has stopped this" in ada.train_status()["details"][0]
    newest = project.store.rounds.newest()
    assert newest is not None
    assert newest.number == 1, "the round stays as it was"
    ada.train_start("aczerots")
    wait_until(lambda: not ada.train_running())
    assert ada.train_status()["status"] == "DONE"
    assert len(project.store.rounds.all()) == 3


def test_other_forms_of_the_same(address: str, ada: PythonClient, project: SmallProject) -> None:
    base, image = f"{address}/monai/{TOKENS['ada']}", slide_of(project, PICKS[0])
    dsa = http_post(f"{base}/infer/wsi/aczerots", params={"image": image, "output": "dsa"}, json={}).json()
    assert {e["type"] for e in dsa["elements"]} == {"polyline"}
    assert all(e["closed"] and len(e["points"]) >= 4 for e in dsa["elements"])
    ada.save_label(ada.next_sample("aczerots")["id"], ("l.png", png(np.ones((50, 50), np.uint8))))
    every = http_get(f"{base}/datastore/", params={"output": "all"}).json()
    assert len(every["objects"]) == 3
    (done,) = http_get(f"{base}/datastore/", params={"output": "train"}).json()
    assert every["objects"][done["image"]]["labels"]["tags"] == {"final": {}}
    text = http_get(f"{base}/logs/", params={"lines": 1}).text
    assert "ada answer" in text
    assert text.count("\n") == 1
