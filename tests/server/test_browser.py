"""A whole round in headless Chromium, as a person would do it. Screenshots go to ``ACZEROTS_SCREENSHOTS``."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from aczerots.annotation.formats.masks import decode_mask
from aczerots.annotation.store.records import AnswerKind, RoundState
from aczerots.taxonomy import IGNORE
from tests.patience import PATIENCE, wait_until
from tests.server.small_project import TOKENS, SmallProject, http_post, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PICKS = [5, 9, 21]
NOTE_WHEN_PAINTED = """
Object.defineProperty(window, "aczerotsStage", { configurable: true, set(stage) {
  const { show, paint } = stage;
  let shown = false;
  stage.painted = false;
  stage.show = async (...given) => { shown = stage.painted = false; await show.apply(stage, given); shown = true; };
  stage.paint = (...given) => { paint.apply(stage, given); stage.painted = shown; };
  Object.defineProperty(window, "aczerotsStage", { value: stage });
} });
"""
"""Notes when the drawing of a tile is shown, which comes after its slide: then it can be drawn on."""
SETTLED = """async () => {
  const slide = window.aczerotsStage.viewer.world.getItemAt(0);
  const frame = () => new Promise(requestAnimationFrame);
  while (!slide.getFullyLoaded()) await frame();
  await frame();
  await frame();
}"""
"""Ends when all pixels of the slide are on the screen."""
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


class Person:
    """Somebody in front of the page.

    Attributes:
        page: The page.
        troubles: What the browser complained about.
    """

    def __init__(self, page: Any, folder: Path) -> None:
        self.page, self.folder = page, folder
        self.troubles: list[str] = []
        page.set_default_timeout(1000 * PATIENCE)
        page.add_init_script(NOTE_WHEN_PAINTED)
        page.on("pageerror", lambda e: self.troubles.append(str(e)))
        page.on("console", lambda m: self.troubles.append(m.text) if m.type == "error" else None)

    def shoot(self, name: str) -> None:
        """Keep a picture of the page."""
        self.page.screenshot(path=str(self.folder / f"{name}.png"))

    def reads(self, selector: str, text: str) -> None:
        """Wait until an element contains a text; without evaluating code, which the page's policy forbids."""
        from playwright.sync_api import expect

        expect(self.page.locator(selector)).to_contain_text(text, timeout=1000 * PATIENCE)

    def wait_for_tile(self, rank: int) -> None:
        """Wait until a tile is there to be drawn."""
        self.reads("#rank", f"number {rank} of its round")
        wait_until(lambda: self.page.evaluate("window.aczerotsStage.painted"))

    def screen(self, x: float, y: float) -> tuple[float, float]:
        """Where a mask pixel is on the screen, from the frame of the tile as the page shows it."""
        spot = self.page.evaluate(f"window.aczerotsStage.toScreen([{x}, {y}])")
        box = self.page.locator("#overlay").bounding_box()
        return box["x"] + spot[0], box["y"] + spot[1]

    def polygon(self, corners: list[tuple[float, float]]) -> None:
        """Draw a polygon of the chosen class."""
        self.page.keyboard.press("p")
        for x, y in corners:
            self.page.mouse.click(*self.screen(x, y))
        self.page.keyboard.press("Enter")

    def stroke(self, path: list[tuple[float, float]]) -> None:
        """Drag the pointer along a path."""
        self.page.mouse.move(*self.screen(*path[0]))
        self.page.mouse.down()
        for x, y in path[1:]:
            self.page.mouse.move(*self.screen(x, y), steps=8)
        self.page.mouse.up()

    def share(self, label: int) -> str:
        """What the palette says about a class."""
        return str(self.page.text_content(f"#class-{label} .share"))


def arrive(browser: Any, address: str, name: str, folder: Path) -> Person:
    """Somebody who has opened their link on a screen of 1280 x 800."""
    person = Person(browser.new_page(viewport={"width": 1280, "height": 800}), folder)
    person.page.goto(f"{address}/?token=token-of-{name}")
    return person


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=1000 * PATIENCE)
        yield started
        started.close()


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("ACZEROTS_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Iterator[SmallProject]:
    made = SmallProject(tmp_path)
    made.propose(0, [])
    made.store.rounds.advance(0, RoundState.FITTED, metrics={"drawn_tiles": 0, "coverage": 0.0})
    made.propose(1, PICKS)
    yield made
    made.store.close()


def newest_mask(project: SmallProject, position: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    kept = project.store.answers.newest(position)
    assert kept is not None
    assert kept.mask is not None
    return decode_mask(kept.mask)


def test_a_whole_round_as_a_person_would(  # noqa: PLR0915  # one story, told in one piece
    browser: Any, project: SmallProject, shots: Path
) -> None:
    with serving(project) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        ada = Person(context.new_page(), shots)
        page = ada.page

        # The link opens the first tile in its slide, with the model's draft.
        page.goto(f"{address}/?token=token-of-ada")
        ada.wait_for_tile(1)
        assert "token" not in page.url
        assert page.locator(".score").count() == 3
        ada.shoot("1-draft")

        # Correct the draft: accept it, then a polygon of another class and a brush stroke over it, and undo one.
        page.keyboard.press("w")
        draft = project.draft(PICKS[0], 9)
        seen = np.isin(draft, project.taxonomy.seen_ids)
        page.keyboard.press("2")
        ada.polygon([(40, 40), (120, 40), (120, 90), (40, 90)])
        after_polygon = ada.share(1)
        page.keyboard.press("3")
        page.keyboard.press("b")
        ada.stroke([(150, 150), (180, 150), (180, 190)])
        assert ada.share(2) != ""
        ada.shoot("2-corrected")
        page.keyboard.press("e")
        ada.stroke([(20, 200), (60, 200)])
        page.keyboard.press("z")
        assert ada.share(1) == after_polygon
        page.fill("#comment", "edge folded")
        ada.reads("#saved", "Saved")

        # The tab is closed and opened again: the work is there.
        page.close()
        ada = Person(context.new_page(), shots)
        page = ada.page
        page.goto(address)
        ada.wait_for_tile(1)
        ada.reads("#saved", "restored")
        assert ada.share(1) == after_polygon
        assert page.input_value("#comment") == "edge folded"
        ada.shoot("3-restored")
        page.click("#hand-in")
        ada.wait_for_tile(2)
        mask = newest_mask(project, PICKS[0])
        assert (mask[45:85, 45:115] == 1).all(), "the polygon is where it was drawn"
        assert (mask[148:152, 152:178] == 2).all(), "so is the brush stroke"
        untouched = np.ones_like(seen)
        untouched[36:94, 36:124] = untouched[135:205, 135:195] = False
        expected = np.where(seen, draft, IGNORE)
        np.testing.assert_array_equal(mask[untouched], expected[untouched])
        kept = project.store.answers.newest(PICKS[0])
        assert kept is not None
        assert (kept.kind, kept.author, kept.comment) == (AnswerKind.DRAWN, "ada", "edge folded")
        assert kept.draft is not None

        # Accept the next as it is, skip the third.
        page.click("#accept-all")
        page.keyboard.press("Enter")
        ada.wait_for_tile(3)
        page.keyboard.press("s")
        page.wait_for_selector("#empty:not([hidden])")
        assert "All tiles of this round are answered" in page.text_content("#empty")
        kinds = [a.kind for p in PICKS[1:] if (a := project.store.answers.newest(p))]
        assert kinds == [AnswerKind.ACCEPTED, AnswerKind.SKIPPED]

        # Finish the round: fit, results with overlays of the unseen class, next selection.
        page.click("#empty button")
        page.wait_for_selector("#advance")
        ada.shoot("4-round")
        page.click("#advance")
        page.wait_for_selector("#results:not([hidden]) svg")
        page.wait_for_selector("#results figure")
        ada.shoot("5-results")
        page.click("#notice-action")
        ada.wait_for_tile(1)
        ada.reads("#progress", "Round 2 ")
        ada.shoot("6-next-selection")
        assert {p.tile for p in project.store.rounds.picks(2)}.isdisjoint(PICKS)
        page.click("#theme")
        ada.shoot("7-dark")
        assert ada.troubles == []
        context.close()


def test_a_tile_with_the_keyboard_alone(browser: Any, project: SmallProject, shots: Path) -> None:
    with serving(project) as address:
        ben = arrive(browser, address, "ben", shots)
        page = ben.page
        ben.wait_for_tile(1)
        press = page.keyboard.press
        # A polygon of 60 x 40 pixels from the middle of the tile.
        press("1")
        press("p")
        for moves in ([], ["Shift+ArrowRight"] * 6, ["Shift+ArrowDown"] * 4, ["Shift+ArrowLeft"] * 6):
            for key in moves:
                press(key)
            press("Space")
        press("Enter")
        # A brush stroke of 30 pixels upwards.
        press("2")
        press("b")
        for key in ["Shift+ArrowUp"] * 6:
            press(key)
        press("Space")
        for key in ["Shift+ArrowUp"] * 3:
            press(key)
        press("Space")
        ben.shoot("8-keyboard")
        press("z")
        press("y")
        press("Enter")
        ben.wait_for_tile(2)
        mask = newest_mask(project, PICKS[0])
        assert (mask[112:152, 112:172] == 0).sum() == 40 * 60
        assert (mask == 1).sum() > np.pi * 100
        for key, kind in (("n", AnswerKind.NO_SEEN_CLASS), ("u", AnswerKind.CANNOT_TELL)):
            press(key)
            position = PICKS[1] if key == "n" else PICKS[2]
            wait_until(lambda at=position: project.store.answers.newest(at) is not None)
            if key == "n":
                ben.wait_for_tile(3)
            else:
                page.wait_for_selector("#empty:not([hidden])")
            kept = project.store.answers.newest(position)
            assert kept is not None
            assert kept.kind is kind
        assert ben.troubles == []
        page.close()


def test_corners_of_a_polygon_are_moved_inserted_and_deleted_before_it_is_drawn(
    browser: Any, project: SmallProject, shots: Path
) -> None:
    with serving(project) as address:
        ada = arrive(browser, address, "ada", shots)
        page = ada.page
        ada.wait_for_tile(1)
        page.keyboard.press("1")
        page.keyboard.press("p")
        for x, y in [(40, 40), (120, 40), (100, 70), (40, 90)]:
            page.mouse.click(*ada.screen(x, y))
        ada.stroke([(100, 70), (120, 90)])
        ada.stroke([(80, 40), (80, 15)])
        ada.shoot("9-corners")
        page.keyboard.press("Delete")  # the pointer is still on the one that was inserted
        ada.stroke([(40, 90), (10, 140)])
        page.keyboard.press("z")
        page.keyboard.press("Enter")
        assert ada.share(0) != ""
        page.click("#hand-in")
        ada.wait_for_tile(2)
        mask = newest_mask(project, PICKS[0])
        drawn = np.argwhere(mask == 0)
        assert np.abs(drawn.min(axis=0) - [40, 40]).max() <= 1
        assert np.abs(drawn.max(axis=0) - [89, 119]).max() <= 1
        assert len(drawn) == pytest.approx(80 * 50, rel=0.03), "a rectangle again"
        assert ada.troubles == []
        page.close()


def test_corners_are_moved_without_a_mouse(browser: Any, project: SmallProject, shots: Path) -> None:
    with serving(project) as address:
        ben = arrive(browser, address, "ben", shots)
        page = ben.page
        ben.wait_for_tile(1)
        right, down, left = "Shift+ArrowRight", "Shift+ArrowDown", "Shift+ArrowLeft"
        keys = ["1", "p", "Space", *[right] * 6, "Space", *[down] * 2, "Space", *[left] * 6, "Space"]
        keys += ["Space", *[down] * 2, "Space"]  # take the last corner two steps further down
        keys += [*[right] * 6, *["Shift+ArrowUp"] * 2, "Space", *[down] * 2, "Space"]  # and the one before
        keys += [*[left] * 6, *["Shift+ArrowUp"] * 4, *[right] * 3, "Space", *["Shift+ArrowUp"] * 3, "Space", "Delete"]
        for key in [*keys, "Enter", "Enter"]:
            page.keyboard.press(key)
        ben.wait_for_tile(2)
        mask = newest_mask(project, PICKS[0])
        assert (mask[112:152, 112:172] == 0).all()
        assert int((mask == 0).sum()) == 40 * 60
        assert ben.troubles == []
        page.close()


def test_a_pen_a_region_of_the_draft_and_the_rest(browser: Any, project: SmallProject, shots: Path) -> None:
    with serving(project) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        ada = Person(context.new_page(), shots)
        page = ada.page
        page.goto(f"{address}/?token=token-of-ada")
        ada.wait_for_tile(1)
        pen = context.new_cdp_session(page)

        def touch(kind: str, at: tuple[float, float], buttons: int) -> None:
            x, y = ada.screen(*at)
            event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1}
            pen.send("Input.dispatchMouseEvent", {**event, "pointerType": "pen"})

        # A freehand line around a rectangle.
        page.keyboard.press("1")
        page.keyboard.press("f")
        touch("mousePressed", (40, 40), 1)
        for corner in ((120, 40), (120, 90), (40, 90)):
            touch("mouseMoved", corner, 1)
        touch("mouseReleased", (40, 90), 0)
        assert ada.share(0) != ""

        # One region of the draft, then everything else as class 2.
        draft = project.draft(PICKS[0], 9)
        free = np.isin(draft, project.taxonomy.seen_ids)
        free[30:100, 30:130] = False
        middle = ndimage.distance_transform_edt(free)
        row, column = (int(i) for i in np.unravel_index(middle.argmax(), middle.shape))
        page.keyboard.press("a")
        page.mouse.click(*ada.screen(column + 0.5, row + 0.5))
        page.keyboard.press("3")
        page.keyboard.press("r")
        page.click("#hand-in")
        ada.wait_for_tile(2)
        mask = newest_mask(project, PICKS[0])
        box = np.zeros_like(free)
        box[40:90, 40:120] = True
        edge = ndimage.binary_dilation(box, iterations=2) & ~ndimage.binary_erosion(box, iterations=2)
        region = ndimage.label(draft == draft[row, column])[0]
        expected = np.where(region == region[row, column], draft[row, column], 2)
        expected[box] = 0
        np.testing.assert_array_equal(mask[~edge], expected[~edge])
        assert ada.troubles == []
        context.close()


def test_opacity_and_hiding(browser: Any, project: SmallProject, shots: Path) -> None:
    with serving(project) as address:
        ada = arrive(browser, address, "ada", shots)
        page = ada.page
        ada.wait_for_tile(1)
        page.keyboard.press("w")

        def look() -> np.ndarray[Any, np.dtype[np.int16]]:
            page.evaluate(SETTLED)
            (left, top), (right, bottom) = ada.screen(5, 5), ada.screen(219, 219)
            clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
            return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")).astype(np.int16)

        page.keyboard.press("h")
        bare = look()
        page.keyboard.press("h")
        seen = []
        for percent in ("10", "50", "90"):
            page.fill("#opacity", percent)
            assert page.text_content("#opacity-out") == f"{percent} %"
            seen.append(float(np.abs(look() - bare).mean()))
        assert 0 < seen[0] < seen[1] < seen[2]
        assert ada.troubles == []
        page.close()


def test_somebody_elses_answer_is_looked_at_before_it_is_replaced(
    browser: Any, project: SmallProject, shots: Path
) -> None:
    with serving(project) as address:
        ada = arrive(browser, address, "ada", shots)
        page = ada.page
        ada.wait_for_tile(1)
        page.keyboard.press("1")
        ada.polygon([(40, 40), (120, 40), (120, 90), (40, 90)])
        mine = ada.share(0)
        answer = {"key": "key-of-ben", "version": 0, "verdict": "drawn", "mask": [2, 224 * 224], "seconds": 5.0}
        header = {"Authorization": f"Bearer {TOKENS['ben']}"}
        http_post(f"{address}/api/tiles/{PICKS[0]}/answer", json=answer, headers=header).raise_for_status()
        page.click("#hand-in")
        ada.reads("#notice-text", "ben has handed in")
        page.click("#notice-action")
        ada.reads("#notice-text", "The newest drawing is shown")
        assert (ada.share(0), ada.share(2)) == ("", "100 %")
        ada.shoot("10-newest-of-two")
        page.keyboard.press("z")
        assert (ada.share(0), ada.share(2)) == (mine, "")
        page.click("#hand-in")
        ada.wait_for_tile(2)
        kept = project.store.answers.history(PICKS[0])
        assert [a.author for a in kept] == ["ben", "ada"]
        assert [a.author for a in project.store.answers.refused()] == ["ada"]
        page.close()


def test_a_round_that_is_measured_tears_nobody_away_from_the_next(
    browser: Any, project: SmallProject, shots: Path
) -> None:
    measured = project.hold_measuring()
    with serving(project) as address:
        ada = arrive(browser, address, "ada", shots)
        page = ada.page
        for rank in range(1, 4):
            ada.wait_for_tile(rank)
            page.keyboard.press("s")
        page.click("#empty button")
        page.click("#advance")
        ada.reads("#job-line", "is being measured")
        page.click("nav [data-view=annotate]")
        ada.wait_for_tile(1)
        page.keyboard.press("1")
        ada.polygon([(40, 40), (120, 40), (120, 90), (40, 90)])
        drawn = ada.share(0)
        measured.set()
        ada.reads("#notice-text", "The round before is measured")
        assert page.is_visible("#annotate")
        assert ada.share(0) == drawn
        page.click("#hand-in")
        ada.wait_for_tile(2)
        assert ada.troubles == []
        page.close()


def test_a_project_without_a_round_is_begun_on_the_page(browser: Any, tmp_path: Path, shots: Path) -> None:
    project = SmallProject(tmp_path)
    project.propose(0, [])
    with serving(project) as address:
        ada = arrive(browser, address, "ada", shots)
        page = ada.page
        ada.reads("#empty", "No tiles are asked for yet")
        page.click("#empty button")
        ada.reads("#advance", "Propose the first round")
        page.click("#advance")
        ada.wait_for_tile(1)
        page.click("nav [data-view=round]")
        ada.reads("#job-line", "Nobody has answered in this round yet")
        assert page.is_disabled("#advance")
        assert ada.troubles == []
        page.close()
    project.store.close()


def test_a_link_that_was_replaced_is_told_on_the_page(browser: Any, project: SmallProject, shots: Path) -> None:
    with serving(project) as address:
        ada = arrive(browser, address, "ada", shots)
        page = ada.page
        ada.wait_for_tile(1)
        page.context.clear_cookies()
        page.keyboard.press("w")
        ada.reads("#notice-text", "Your link is not valid any more")
        page.reload()
        assert page.text_content("h1") == "This link is not valid"
        page.goto(f"{address}/?token=token-of-ada")
        ada.wait_for_tile(1)
        ada.reads("#saved", "restored")
        assert page.is_enabled("#hand-in")
        page.close()


def test_a_drawing_survives_a_server_that_is_gone(browser: Any, project: SmallProject, shots: Path) -> None:
    with serving(project) as address:
        ada = Person(browser.new_page(), shots)
        page = ada.page
        page.goto(f"{address}/?token=token-of-ada")
        ada.wait_for_tile(1)
        page.route("**/api/tiles/**", lambda route: route.abort())
        page.keyboard.press("1")
        ada.polygon([(10, 10), (60, 10), (60, 60), (10, 60)])
        ada.reads("#saved", "Not saved")
        page.click("#hand-in")
        ada.reads("#notice-text", "cannot be reached")
        page.unroute("**/api/tiles/**")
        page.reload()
        ada.wait_for_tile(1)
        ada.reads("#saved", "restored")
        page.keyboard.press("Enter")
        ada.wait_for_tile(2)
        assert (newest_mask(project, PICKS[0])[15:55, 15:55] == 0).all()
        page.close()
