"""The server of the page: who may enter, what is kept, what is refused."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from aczerots.annotation.store.records import AnswerKind
from aczerots.server.access import Gate, Tokens
from aczerots.server.app import make_app
from aczerots.server.runs import decode_runs, encode_runs
from aczerots.taxonomy import IGNORE
from tests.patience import PATIENCE
from tests.server.small_project import PICKS, TOKENS, SmallProject


class Site:
    """Clients of one server, one per user."""

    def __init__(self, project: SmallProject) -> None:
        served = project.serve()
        self.jobs, self.app = served.jobs, make_app(served)
        self.gate = Gate(self.app, Tokens(TOKENS))

    def client(self, user: str | None) -> TestClient:
        headers = {} if user is None else {"Authorization": f"Bearer {TOKENS[user]}"}
        return TestClient(self.gate, headers=headers, follow_redirects=False)


@pytest.fixture
def site(project: SmallProject) -> Site:
    return Site(project)


@pytest.fixture
def ada(site: Site) -> TestClient:
    return site.client("ada")


@pytest.fixture
def ben(site: Site) -> TestClient:
    return site.client("ben")


def drawn(task: dict[str, Any], label: int = 0, **changes: Any) -> dict[str, Any]:
    """An answer that draws the whole tile."""
    size = task["tile"]["size"]
    answer = {"key": f"key-{task['tile']['position']:05d}-{label}", "version": task["version"], "verdict": "drawn"}
    return {**answer, "mask": [label, size * size], "seconds": 12.5, **changes}


def take(client: TestClient) -> dict[str, Any]:
    task = client.post("/api/tasks/next").json()["task"]
    assert isinstance(task, dict)
    return task


def routes(site: Site) -> list[tuple[str, str]]:
    paths = site.app.openapi()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def test_nothing_answers_without_a_valid_token(site: Site) -> None:
    extra = [("GET", p) for p in ("/", "/static/page.js", "/api/openapi.json", "/docs", "/nowhere", "/?token=wrong")]
    asked = routes(site) + extra
    assert len(asked) > 18
    for method, path in asked:
        at = path.replace("{position}", "1").replace("{number}", "0")
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "aczerots=wrong"}, {"Authorization": "x"}):
            answer = site.client(None).request(method, at, headers=headers)
            assert answer.status_code == 401, (method, path, headers)
            assert method == "HEAD" or answer.json()["detail"].startswith("this needs a valid token")


def test_somebody_who_opens_the_page_without_a_valid_token_is_told_what_to_do(site: Site) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Cookie": "aczerots=old"}
    answer = site.client(None).get("/", headers=browser)
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("text/html")
    assert "This link is not valid" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert site.client(None).get("/api/round", headers=browser).json()["detail"].startswith("this needs")


def test_a_token_that_was_taken_back_ends_within_a_second() -> None:
    now, people, asked = [0.0], {"secret": "eve"}, []

    def known(token: str) -> str | None:
        asked.append(token)
        return people.get(token)

    tokens = Tokens({}, known, clock=lambda: now[0])
    assert [tokens.user("secret"), tokens.user("secret"), tokens.recent("secret")] == ["eve"] * 3
    assert asked == ["secret"]
    people.clear()
    now[0] = 0.999
    assert tokens.recent("secret") == "eve"
    now[0] = 1.0
    assert tokens.recent("secret") is None
    assert tokens.user("secret") is None
    people["other"] = "mia"  # a wrong one is never remembered: it may become a right one
    assert [tokens.user("wrong"), tokens.user("other")] == [None, "mia"]


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer \xff", "Basic dG9rZW4=", "Bearer token-of-ada x"])
def test_odd_credentials_are_refused(site: Site, header: str) -> None:
    assert site.client(None).get("/api/project", headers={"Authorization": header.encode("latin-1")}).status_code == 401


def test_the_link_becomes_a_cookie_and_leaves_the_address(site: Site) -> None:
    client = site.client(None)
    answer = client.get("/?token=token-of-ben&view=round")
    assert answer.status_code == 303
    assert answer.headers["location"] == "./?view=round"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert client.get("/api/project").json()["user"] == "ben"
    assert "<title>aczerots</title>" in client.get("/").text
    assert client.get("/static/page.js").status_code == 200


def test_the_page_is_shut_to_the_rest_of_the_web(ada: TestClient) -> None:
    headers = ada.get("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    page = ada.get("/").text + ada.get("/static/page.css").text
    assert "http:" not in page
    assert "https:" not in page


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/server/app.py",
        "/static/..%2f..%2fserver%2fapp.py",
        "/static//etc/passwd",
        "/api/slides/..%2f..%2fproject.sqlite.dzi",
        "/api/slides/0_files/0/../../../project.sqlite",
        "/api/slides/0_files/0/0_0.jpeg%00.png",
    ],
)
def test_no_path_leaves_the_project(ada: TestClient, path: str) -> None:
    answer = ada.get(path)
    assert answer.status_code in {404, 422}
    assert "SQLite" not in answer.text
    assert "root:" not in answer.text


def test_each_annotator_gets_another_tile_and_keeps_it(ada: TestClient, ben: TestClient) -> None:
    first, second = take(ada), take(ben)
    assert [first["tile"]["position"], second["tile"]["position"]] == PICKS[:2]
    assert take(ada)["tile"]["position"] == first["tile"]["position"]
    refused = ben.post(f"/api/tiles/{first['tile']['position']}/open")
    assert refused.status_code == 409
    assert "ada is working on this tile" in refused.json()["detail"]


def test_a_task_says_where_why_and_what_the_model_thinks(ada: TestClient, project: SmallProject) -> None:
    task = take(ada)
    tile = project.pool[PICKS[0]]
    assert task["tile"]["box"] == {"x": tile.box.x, "y": tile.box.y, "width": tile.box.width, "height": tile.box.height}
    assert [w["name"] for w in task["why"]] == ["uncertainty", "diversity", "coverage"]
    assert all(0 <= w["value"] <= 1 and w["meaning"] for w in task["why"])
    np.testing.assert_array_equal(decode_runs(task["draft"], tile.size), project.draft(PICKS[0], 9))
    inner = task["tile"]["inner"]
    rows, columns = tile.inner
    assert (inner["x"], inner["y"]) == (columns.start, rows.start)
    assert (inner["width"], inner["height"]) == (columns.stop - columns.start, rows.stop - rows.start)


def test_an_answer_is_kept_with_author_time_and_draft(ada: TestClient, project: SmallProject) -> None:
    task = take(ada)
    position = task["tile"]["position"]
    given = drawn(task, draft_id=task["draft_id"], comment="folded at the edge")
    assert ada.post(f"/api/tiles/{position}/answer", json=given).json() == {"version": 1}
    kept = project.store.answers.newest(position)
    assert kept is not None
    assert (kept.author, kept.kind, kept.seconds, kept.tool) == ("ada", AnswerKind.DRAWN, 12.5, "page")
    assert kept.draft == task["draft_id"]
    assert kept.comment == "folded at the edge"
    mask = project.store.answers.masks()[position]
    tile = project.pool[position]
    assert (mask[tile.inner] == 0).all()
    assert int((mask != IGNORE).sum()) == int(np.ones_like(mask)[tile.inner].sum()), "only the box is drawn"
    assert ada.post("/api/tasks/next").json()["left"] == 2


def test_the_same_answer_sent_twice_is_kept_once(ada: TestClient, project: SmallProject) -> None:
    task = take(ada)
    position = task["tile"]["position"]
    versions = [ada.post(f"/api/tiles/{position}/answer", json=drawn(task)).json()["version"] for _ in range(3)]
    assert versions == [1, 1, 1]
    assert len(project.store.answers.history(position)) == 1


def test_one_key_on_two_tiles_is_two_answers(ada: TestClient, project: SmallProject) -> None:
    for _ in range(2):
        task = take(ada)
        ada.post(f"/api/tiles/{task['tile']['position']}/answer", json=drawn(task, key="the-same-key"))
    assert sorted(project.store.answers.masks()) == PICKS[:2]


def test_a_stale_answer_is_refused_with_a_reason_and_kept(
    ada: TestClient, ben: TestClient, project: SmallProject
) -> None:
    task = take(ada)
    position = task["tile"]["position"]
    assert ada.post(f"/api/tiles/{position}/answer", json=drawn(task)).status_code == 200
    refused = ben.post(f"/api/tiles/{position}/answer", json=drawn(task, label=1, key="key-of-ben"))
    assert refused.status_code == 409
    assert "ada has handed in version 1 meanwhile" in refused.json()["detail"]
    aside = project.store.answers.refused()
    assert [(a.author, a.tile) for a in aside] == [("ben", position)]
    again = ben.post(f"/api/tiles/{position}/open").json()
    assert ben.post(f"/api/tiles/{position}/answer", json=drawn(again, label=1, key="key-of-ben2")).json() == {
        "version": 2
    }
    assert project.store.answers.masks()[position].min() == 1


def test_unfinished_work_is_there_after_a_crash(ada: TestClient, project: SmallProject) -> None:
    task = take(ada)
    position, size = task["tile"]["position"], task["tile"]["size"]
    mask = np.full((size, size), IGNORE, dtype=np.uint8)
    rows, columns = project.pool[position].inner
    mask[rows.start + 3 : rows.start + 9, columns.start + 3] = 2
    work = {"mask": encode_runs(mask), "version": 0, "comment": "not sure", "seconds": 31.0, "draft_id": None}
    assert ada.put(f"/api/tiles/{position}/work", json=work).status_code == 200
    fresh = Site(project).client("ada")  # as after a restart of the server
    assert take(fresh)["work"] == work
    fresh.post(f"/api/tiles/{position}/answer", json=drawn(task))
    assert fresh.post(f"/api/tiles/{position}/open").json()["work"] is None


def test_work_on_a_stale_version_is_kept_and_said(ada: TestClient, ben: TestClient) -> None:
    task = take(ada)
    position, size = task["tile"]["position"], task["tile"]["size"]
    ada.post(f"/api/tiles/{position}/answer", json=drawn(task))
    answer = ben.put(f"/api/tiles/{position}/work", json={"mask": [1, size * size], "version": 0})
    assert answer.status_code == 409
    assert ben.post(f"/api/tiles/{position}/open").json()["work"]["version"] == 0


def test_undo_brings_back_what_was_before(ada: TestClient, ben: TestClient, project: SmallProject) -> None:
    task = take(ada)
    position = task["tile"]["position"]
    ada.post(f"/api/tiles/{position}/answer", json=drawn(task))
    assert ben.post(f"/api/tiles/{position}/undo").status_code == 409
    assert ada.post(f"/api/tiles/{position}/undo").json() == {"version": 2}
    assert project.store.answers.masks() == {}
    again = take(ada)
    assert (again["tile"]["position"], again["version"], again["verdict"]) == (position, 2, None)


@pytest.mark.parametrize("verdict", ["no_seen_class", "cannot_tell", "skipped"])
def test_an_answer_without_a_drawing(ada: TestClient, project: SmallProject, verdict: str) -> None:
    task = take(ada)
    position = task["tile"]["position"]
    assert ada.post(f"/api/tiles/{position}/answer", json=drawn(task, verdict=verdict)).status_code == 200
    kept = project.store.answers.newest(position)
    assert kept is not None
    assert (kept.kind, kept.mask) == (verdict, None)
    tiles = ada.get("/api/round").json()["tiles"]
    assert [t["verdict"] for t in tiles] == [verdict, None, None]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mask": None}, "no mask"),
        ({"mask": [0, 5]}, "the mask has 5 pixels"),
        ({"mask": [0]}, "no list of label and count pairs"),
        ({"mask": [0, 0, 1, 4096]}, "empty run"),
        ({"mask": [300, 4096]}, "outside 0..255"),
        ({"mask": [3, 4096]}, "id 3 (necrosis) cannot be drawn"),
        ({"mask": [77, 4096]}, "id 77 (no class) cannot be drawn"),
        ({"version": 7}, "does not exist"),
        ({"draft_id": 10**6}, "there is no draft"),
        ({"verdict": "withdrawn"}, "verdict"),
        ({"seconds": -1}, "seconds"),
        ({"key": "../../etc"}, "key"),
        ({"more": 1}, "more"),
    ],
)
def test_a_bad_answer_changes_nothing(
    ada: TestClient, project: SmallProject, change: dict[str, Any], reason: str
) -> None:
    task = take(ada)
    answer = ada.post(f"/api/tiles/{task['tile']['position']}/answer", json=drawn(task, **change))
    assert answer.status_code == 422, answer.text
    assert reason in answer.text
    assert project.store.answers.masks() == {}


def test_tiles_outside_the_round_are_not_answered(ada: TestClient) -> None:
    answer = {"key": "key-00000", "version": 0, "verdict": "skipped"}
    assert ada.post("/api/tiles/0/answer", json=answer).status_code == 404
    assert ada.post("/api/tiles/99999/answer", json=answer).status_code == 404
    assert ada.post("/api/tiles/99999/comment", json={"text": "x"}).status_code == 404


def test_comments_are_seen_by_the_others(ada: TestClient, ben: TestClient) -> None:
    ada.post("/api/tiles/2/comment", json={"text": "necrosis below?"})
    assert ben.post("/api/tiles/2/open").json()["comments"] == ["ada: necrosis below?"]


def test_a_large_request_is_refused_unread(ada: TestClient) -> None:
    answer = ada.put("/api/tiles/1/work", content=b"", headers={"Content-Length": str(10**9)})
    assert answer.status_code == 413
    streamed = ada.put("/api/tiles/1/work", content=iter([b"{}"]))
    assert streamed.status_code == 413


@pytest.mark.parametrize(
    "body",
    [b"[" * 200_000, b'{"mask": ' + b"9" * 5000 + b"}", b'{"mask": [1, 4096], "version": 0, "seconds": NaN}', b"\xff"],
    ids=["nested", "digits", "nan", "bytes"],
)
def test_a_hostile_body_is_refused(ada: TestClient, body: bytes) -> None:
    answer = ada.put("/api/tiles/1/work", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert isinstance(answer.json()["detail"], str)


def test_the_round_is_told_as_it_stands(ada: TestClient, ben: TestClient, project: SmallProject) -> None:
    for client, seconds in ((ada, 10.0), (ben, 30.0)):
        task = take(client)
        client.post(f"/api/tiles/{task['tile']['position']}/answer", json=drawn(task, label=1, seconds=seconds))
    take(ada)
    told = ada.get("/api/round").json()
    assert (told["number"], told["state"], told["left"], told["seconds"]) == (1, "annotating", 1, 40.0)
    assert told["authors"] == {"ada": 1, "ben": 1}
    assert told["minutes_left"] == pytest.approx(20 / 60)
    assert [(t["author"], t["leased"]) for t in told["tiles"]] == [("ada", False), ("ben", False), ("ada", True)]
    area = sum(project.pool[p].box.area for p in PICKS[:2])
    assert told["pixels"] == [area if c == 1 else 0 for c in range(len(project.taxonomy))]


def test_fitting_runs_beside_and_ends_with_a_new_round(site: Site, ada: TestClient, ben: TestClient) -> None:
    task = take(ada)
    ada.post(f"/api/tiles/{task['tile']['position']}/answer", json=drawn(task))
    assert ada.get("/api/job").json()["state"] == "idle"
    assert ada.post("/api/job").status_code == 202
    site.jobs.wait(PATIENCE)
    job = ben.get("/api/job").json()
    assert (job["state"], job["user"], job["message"]) == ("done", "ada", "")
    assert ben.get("/api/round").json()["number"] == 2
    results = ben.get("/api/results").json()
    assert results["rounds"][0]["metrics"]["miou_seen"] == pytest.approx(0.4)
    assert len(results["ious"]) == 8, "of the classes that are drawn"
    assert results["change"] == [{"round": 1, "share": 0.1}]
    assert not results["advice"]["stop"]


def test_only_one_job_at_a_time_and_a_failure_is_said(site: Site, ada: TestClient, project: SmallProject) -> None:
    gate = project.hold_next()
    assert ada.post("/api/job").status_code == 202
    refused = ada.post("/api/job")
    assert refused.status_code == 409
    assert "ada has already started this" in refused.json()["detail"]
    project.fail_next = "the disk is full"
    gate.set()
    site.jobs.wait(PATIENCE)
    assert ada.get("/api/job").json()["state"] == "failed"
    assert "the disk is full" in ada.get("/api/job").json()["message"]


def test_pictures_of_tiles_and_slides(ada: TestClient, project: SmallProject) -> None:
    picture = np.asarray(Image.open(BytesIO(ada.get("/api/tiles/2/image.jpeg").content)).convert("RGB"))
    tile = project.pool[2]
    true = project.data[tile.slide].slide.read(tile.window, (64, 64))
    assert np.abs(picture.astype(float) - true).mean() < 6
    assert ada.get("/api/slides/0.dzi").text.count('Width="200"') == 1
    assert ada.get("/api/slides/0_files/8/0_0.jpeg").headers["content-type"] == "image/jpeg"
    assert ada.get("/api/slides/0_files/9/0_0.jpeg").status_code == 404
    assert ada.get("/api/slides/7.dzi").status_code == 404


@pytest.mark.slow
def test_every_answer_is_described(site: Site) -> None:
    described = site.app.openapi()
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], path
            assert operation.get("description"), path
            good = [c for c in operation["responses"] if c.startswith("2")]
            content = operation["responses"][good[0]].get("content", {"nothing": {}})
            assert any(
                "$ref" in str(c.get("schema", {})) or kind != "application/json" for kind, c in content.items()
            ), (
                method,
                path,
            )
            assert "401" in operation["responses"], path
            assert operation["security"], path
