"""Rounds are measured on drawn tiles that a model was not fitted to; the report says what came of it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.project.conftest import UNSEEN, tissue_project

from aczerots.annotation.formats.masks import decode_mask, only_seen
from aczerots.annotation.store.records import AnswerKind, NewAnswer, RoundState
from aczerots.cli.app import main
from aczerots.datasets.base import Dataset
from aczerots.engine.progress import Silent
from aczerots.errors import InputError, SettingsError
from aczerots.loop.expert import draw
from aczerots.predict.segmenter import Segmenter
from aczerots.project.folder import Project, newest_model
from aczerots.project.measure import cross_validate, split_folds, unchanged_drafts
from aczerots.project.report import write_project_report
from aczerots.project.rounds import fit_round, measure_round, propose_round
from aczerots.project.running import Running, open_project_pool
from aczerots.project.status import score_note
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import locate_preset
from aczerots.selection.aczerots import covered_fraction
from aczerots.server.serve import next_round
from aczerots.server.served import ServedProject
from aczerots.server.views import results_info
from aczerots.slides.base import Box, Tile
from aczerots.taxonomy import IGNORE

pytestmark = [pytest.mark.usefixtures("short_fits"), pytest.mark.slow]


NO_LABELS = np.zeros((1, 1), dtype=np.uint8)


def tile(slide: str, x: int = 0) -> Tile:
    return Tile(slide, Box(x, 0, 8, 8), Box(x, 0, 8, 8), 8)


POOL = [tile("a"), tile("a", 8), tile("a", 16), tile("b"), tile("c"), tile("c", 8), tile("d")]


@pytest.mark.parametrize(
    ("drawn", "number", "parts", "kind"),
    [
        ([0, 1, 2, 3, 4, 5, 6], 2, [[0, 1, 2, 6], [3, 4, 5]], "slide"),
        ([0, 1, 2, 3, 4, 5, 6], 9, [[0, 1, 2], [4, 5], [3], [6]], "slide"),
        ([6, 0], 5, [[0], [6]], "slide"),
        ([0, 2, 1], 2, [[0, 2], [1]], "tile"),
        ([3], 5, [], "tile"),
        ([], 5, [], "tile"),
        ([0, 3], 1, [], "slide"),
        ([0, 3], 0, [], "slide"),
    ],
)
def test_slides_stay_together(drawn: list[int], number: int, parts: list[list[int]], kind: str):
    assert split_folds(POOL, drawn, number) == (parts, kind)


@pytest.fixture
def project(tmp_path: Path, tissue: Dataset) -> Iterator[Project]:
    with tissue_project(tmp_path, tissue, budget=6) as opened:
        yield opened


def masks_of(project: Project, tissue: Dataset, positions: list[int]) -> dict[int, np.ndarray]:
    tiles = project.store.rounds.tiles()
    truth = {s.slide.id.replace(":", "_"): s.truth for s in tissue.samples}
    return {p: draw(truth[tiles[p].slide], tiles[p], project.taxonomy) for p in positions}


def answer_all(project: Project, tissue: Dataset) -> None:
    for pick in project.store.rounds.picks(1):
        (mask,) = masks_of(project, tissue, [pick.tile]).values()
        for reading in range(pick.readings):
            drawn = np.roll(mask, 2 * reading, axis=0)
            author = ("ann <b>", "bob")[reading]
            new = NewAnswer(pick.tile, 1, author, "page", AnswerKind.DRAWN, 0, drawn, reading=reading, seconds=90.0)
            project.store.answers.add(new)


def test_no_model_is_measured_on_tiles_that_it_was_fitted_to(project: Project, tissue: Dataset):
    pool = open_project_pool(project, Running())
    masks = masks_of(project, tissue, [0, 1, 4, 5, 8])
    slides = {p: pool.tiles[p].slide for p in masks}
    fitted: list[set[int]] = []

    def remember(part: dict[int, np.ndarray]) -> ProZS:
        fitted.append(set(part))
        return pool.untrained(locate_preset("zeroshot"), 0)

    found = cross_validate(pool, masks, 3, remember, project.tissue, project.cache, Silent())
    assert len(fitted) == 3
    for part in fitted:
        held = set(masks) - part
        assert held
        assert not {slides[p] for p in held} & {slides[p] for p in part}
    assert sorted(p for part in fitted for p in set(masks) - part) == sorted(masks), "each tile is left out once"

    # The same by hand: the model never changes here, so that it is one prediction, cut out of whole slides.
    model = pool.untrained(locate_preset("zeroshot"), 0)
    segmenter = Segmenter(model, pool.card("zeroshot", 0), pool.backbone)
    whole = {name: segmenter.segment(slide).labels for name, slide in pool.slides.items()}
    both = []
    for p, mask in masks.items():
        tile = pool.tiles[p]
        b = tile.box
        said = whole[tile.slide][b.y : b.y + b.height, b.x : b.x + b.width]
        both.append((mask[tile.inner].ravel(), said.ravel()))
    truth, predicted = (np.concatenate(x) for x in zip(*both, strict=True))
    counts = truth != IGNORE
    truth, predicted = truth[counts], predicted[counts]
    assert found["pacc"] == pytest.approx((truth == predicted).mean())
    ious = []
    for label in project.taxonomy.seen_ids:
        union = ((truth == label) | (predicted == label)).sum()
        iou = ((truth == label) & (predicted == label)).sum() / union if union else np.nan
        assert found[f"iou:{project.taxonomy.names[label]}"] == pytest.approx(iou, nan_ok=True)
        ious.append(iou)
    assert found["miou_seen"] == pytest.approx(np.nanmean(ious))
    assert (found["measured_tiles"], found["folds"], found["held_together"]) == (5, 3, "slide")
    assert f"iou:{UNSEEN}" not in found


@pytest.mark.slow
def test_measuring_can_be_left_for_later(project: Project, tissue: Dataset):
    with pytest.raises(SettingsError, match="no round is fitted to a drawing"):
        measure_round(project, Running())
    propose_round(project, Running())
    answer_all(project, tissue)
    fitted = fit_round(project, Running(), measure=False)
    assert fitted.miou is None
    newest = project.store.rounds.newest()
    assert newest is not None
    assert newest.state is RoundState.FITTED
    propose_round(project, Running(), budget=2)  # people go on
    metrics = measure_round(project, Running())
    assert metrics["measured_tiles"] == 6
    first = project.store.rounds.all()[1]
    assert (first.state, first.metrics) == (RoundState.EVALUATED, metrics)
    assert {"drawn_tiles", "change", "coverage", "miou_seen"} <= set(metrics)
    assert newest_model(project.folder) == project.model_file(1)
    assert newest_model(project.model_file(0)) == project.model_file(0)


def test_a_project_without_folds_is_not_measured(project: Project, tissue: Dataset):
    bare = replace(project, settings=project.settings.model_copy(update={"folds": 0}))
    propose_round(bare, Running())
    answer_all(bare, tissue)
    assert fit_round(bare, Running()).miou is None
    with pytest.raises(SettingsError, match="nothing to measure on"):
        measure_round(bare, Running())


def test_coverage_grows_with_what_is_drawn(project: Project, tissue: Dataset):
    pool = open_project_pool(project, Running())
    model = pool.untrained(locate_preset("zeroshot"), 0)

    def covered(positions: list[int]) -> float:
        masks = masks_of(project, tissue, positions)
        return covered_fraction(pool.view(model, masks))

    shares = [covered(list(range(n))) for n in (0, 1, 4, 12)]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1, abs=1e-3)


def test_the_report_tells_all_and_loads_nothing(project: Project, tissue: Dataset, tmp_path: Path):
    propose_round(project, Running())
    answer_all(project, tissue)
    fit_round(project, Running())
    tiles = project.store.rounds.tiles()
    picks = propose_round(project, Running(), budget=2).picks
    draft = project.store.rounds.draft(picks[0].tile)
    assert draft is not None
    out = tmp_path / "report.html"
    write_project_report(project, out)
    page = out.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "ann &lt;b&gt;" in page
    assert "ann <b>" not in page
    assert "Agreement of two readings" in page
    assert "5 fits" not in page
    assert "3 fits, each without some slides" in page
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "1 evaluated aczerots 9 9 9" in text
    assert re.search(r"bob 3 3 4\.5 90", text)
    assert len(tiles) == 12


def test_a_project_without_a_round_has_a_report_too(project: Project, tmp_path: Path):
    write_project_report(project, tmp_path / "report.html")
    assert "12 tiles" in (tmp_path / "report.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="has no model yet"):
        newest_model(project.folder)


@pytest.mark.slow
def test_the_page_goes_on_where_there_is_nothing_to_measure(project: Project):
    next_round(project, Running())  # from the zero-shot model, to which nothing was drawn
    rounds = project.store.rounds
    assert [(r.number, r.state) for r in rounds.all()] == [(0, RoundState.FITTED), (1, RoundState.PROPOSED)]
    first = rounds.picks(1)[0].tile
    mask = np.full((64, 64), IGNORE, dtype=np.uint8)
    mask[:40] = 0
    project.store.answers.add(NewAnswer(first, 1, "ann", "page", AnswerKind.DRAWN, 0, mask))
    next_round(project, Running())  # a single drawn tile cannot be left out
    assert [r.state for r in rounds.all()] == [RoundState.FITTED, RoundState.FITTED, RoundState.PROPOSED]
    with pytest.raises(SettingsError, match="there is nothing to measure on"):
        measure_round(project, Running())


def accept(project: Project, tissue: Dataset, corrected: int) -> set[int]:
    """Draw the first tiles of round 1, and accept the drafts of the others: some say so, some have just not changed."""
    accepted = set()
    for i, pick in enumerate(project.store.rounds.picks(1)):
        draft = project.store.rounds.draft(pick.tile)
        assert draft is not None
        (mask,) = masks_of(project, tissue, [pick.tile]).values()
        kind = AnswerKind.DRAWN if i < corrected or i % 2 else AnswerKind.ACCEPTED
        if i >= corrected:
            mask = only_seen(decode_mask(draft.mask), project.taxonomy)
            accepted.add(pick.tile)
        project.store.answers.add(NewAnswer(pick.tile, 1, "ann", "page", kind, 0, mask, draft=draft.id))
    return accepted


def test_drafts_accepted_unchanged_are_not_measured_on(
    project: Project, tissue: Dataset, capsys: pytest.CaptureFixture[str]
):
    propose_round(project, Running())
    accepted = accept(project, tissue, corrected=2)
    assert len(accepted) == 4
    assert unchanged_drafts(project.store, 1, project.taxonomy) == accepted
    fitted = fit_round(project, Running())
    metrics = project.store.rounds.all()[1].metrics
    assert metrics is not None
    assert (metrics["measured_tiles"], metrics["accepted_fraction"]) == (2, pytest.approx(4 / 6))
    assert fitted.note == "67 % of the drawn tiles are drafts accepted unchanged; measured on the others"
    with pytest.raises(SystemExit):
        main(["status", str(project.folder)])
    assert f"IoU: {fitted.note}" in capsys.readouterr().out
    out = project.folder / "report.html"
    write_project_report(project, out)
    page = " ".join(out.read_text(encoding="utf-8").split())
    assert "mIoU of drawn classes; 66.7 % of the drawn tiles are drafts accepted unchanged" in page
    assert "measured on the others." in page
    assert results_info(ServedProject(project, lambda _: None, lambda *_: NO_LABELS)).note == fitted.note


def test_scores_of_nothing_but_drafts_say_that_they_mean_little(project: Project, tissue: Dataset):
    propose_round(project, Running())
    accept(project, tissue, corrected=0)
    fitted = fit_round(project, Running())
    assert fitted.miou is not None
    assert fitted.note is not None
    assert fitted.note.startswith("all drawn tiles are drafts accepted unchanged")
    assert score_note({"miou_seen": 0.5}) is None, "measured by an older version"
    assert score_note({"accepted_fraction": 0.0}) is None
    assert str(score_note({"accepted_fraction": 0.001})).startswith("1 %")
