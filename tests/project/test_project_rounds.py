"""The loop of a project on procedural tissue, with the built-in backbone."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.patience import wait_until
from tests.project.conftest import UNSEEN, tissue_project

import aczerots as az
from aczerots.annotation.formats.masks import decode_mask
from aczerots.annotation.store.records import AnswerKind, NewAnswer, RoundState
from aczerots.datasets.base import Dataset
from aczerots.engine.progress import Silent
from aczerots.errors import InputError, SettingsError
from aczerots.loop.answers import drawn_masks
from aczerots.loop.expert import draw
from aczerots.project import rounds
from aczerots.project.folder import Project, init_project, open_project
from aczerots.project.rounds import fit_round, go_round, propose_round
from aczerots.project.running import Running, open_project_pool
from aczerots.project.status import class_rows, round_rows
from aczerots.prozs.checkpoint import load_model
from aczerots.taxonomy import IGNORE, NO_SEEN

pytestmark = pytest.mark.usefixtures("short_fits")
RUNNING = Running()


class Interrupted(Silent):
    """Somebody presses Ctrl-C at a certain stage."""

    def say(self, text: str) -> None:
        if "looks at" in text:
            raise KeyboardInterrupt


@pytest.fixture
def project(tmp_path: Path, tissue: Dataset) -> Iterator[Project]:
    with tissue_project(tmp_path, tissue, budget=4) as opened:
        yield opened


def expert(project: Project, tissue: Dataset, position: int, number: int, author: str = "ann") -> NewAnswer:
    tile = project.store.rounds.tiles()[position]
    truth = next(s.truth for s in tissue.samples if s.slide.id.replace(":", "_") == tile.slide)
    mask = draw(truth, tile, project.taxonomy)
    return NewAnswer(position, number, author, "page", AnswerKind.DRAWN, 0, mask)


def test_a_round_from_the_proposal_to_the_model(project: Project, tissue: Dataset):
    assert project.next_step() == f"aczerots select {project.folder}"
    proposal = propose_round(project, RUNNING)
    assert (proposal.number, proposal.new, len(proposal.picks)) == (1, True, 4)
    assert sorted(p.readings for p in proposal.picks) == [1, 1, 2, 2]
    assert {"uncertainty", "diversity", "coverage"} <= set(proposal.picks[0].components)
    assert project.model_file(0).exists()
    again = az.select(project)
    assert (again.number, again.new, again.picks) == (1, False, proposal.picks)
    assert "aczerots export" in project.next_step()

    draft = project.store.rounds.draft(proposal.picks[0].tile)
    assert draft is not None
    mask = decode_mask(draft.mask)
    assert mask.max() < len(project.taxonomy)  # every pixel of a tile that fills its window
    names = {f["properties"]["classification"]["name"] for f in draft.geometry["features"]}
    assert names == {project.taxonomy.names[i] for i in np.unique(mask)}

    with pytest.raises(SettingsError, match="nobody has answered in round 1 yet"):
        fit_round(project, RUNNING)
    for pick in proposal.picks:
        project.store.answers.add(expert(project, tissue, pick.tile, 1))
    fitted = fit_round(project, RUNNING)
    assert (fitted.number, fitted.tiles, fitted.left, fitted.file) == (1, 4, 2, "models/round-1.safetensors")
    assert fitted.change is not None
    assert 0 < fitted.change < 1
    newest = project.store.rounds.newest()
    assert newest is not None
    assert (newest.state, newest.model) == (RoundState.EVALUATED, fitted.file)
    assert newest.metrics is not None
    assert {k: newest.metrics[k] for k in ("drawn_tiles", "change", "measured_tiles", "miou_seen")} == {
        "drawn_tiles": 4,
        "change": fitted.change,
        "measured_tiles": 4,
        "miou_seen": fitted.miou,
    }
    assert 0 < newest.metrics["coverage"] < 1
    assert f"iou:{UNSEEN}" not in newest.metrics
    assert project.next_step() == f"aczerots select {project.folder}"

    second = propose_round(project, RUNNING, strategy="random", budget=3)
    assert not {p.tile for p in second.picks} & {p.tile for p in proposal.picks}
    rows = round_rows(project, project.store.progress())
    assert [(r["round"], r["state"], r["strategy"], r["asked"]) for r in rows][1:] == [
        (1, "evaluated", "aczerots", 6),
        (2, "proposed", "random", 5),
    ]
    by_class = {r["class"]: r for r in class_rows(project, project.store.progress())}
    assert by_class[UNSEEN]["tiles"] == 0
    assert sum(r["share_of_drawn"] for r in by_class.values()) == pytest.approx(1)


@pytest.mark.slow
def test_the_model_is_that_of_the_loop_and_does_not_depend_on_interruptions(project: Project, tissue: Dataset):
    propose_round(project, RUNNING)
    for pick in project.store.rounds.picks(1):
        project.store.answers.add(expert(project, tissue, pick.tile, 1))
    fit_round(project, RUNNING)
    model, card = load_model(project.model_file(1))
    assert (card.rounds, card.preset, card.taxonomy.names) == (1, "prozs", project.taxonomy.names)
    pool = open_project_pool(project, RUNNING)
    masks = drawn_masks(project.store, 1, pool.taxonomy)
    expected = pool.train(rounds.locate_preset("prozs"), masks, 0).state_dict()
    for name, values in model.state_dict().items():
        torch.testing.assert_close(values, expected[name], rtol=0, atol=0)
    fit_round(project, RUNNING)  # again, with the same answers
    for name, values in load_model(project.model_file(1))[0].state_dict().items():
        torch.testing.assert_close(values, expected[name], rtol=0, atol=0)


@pytest.mark.slow
def test_a_proposal_that_is_interrupted_is_made_again_the_same(project: Project, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        propose_round(project, Running(progress=Interrupted()))
    newest = project.store.rounds.newest()
    assert newest is not None
    assert (newest.number, newest.state) == (0, RoundState.FITTED)
    picks = propose_round(project, RUNNING).picks
    settings = project.settings
    init_project(tmp_path / "twin", [str(tmp_path / "*.png")], settings)
    with open_project(tmp_path / "twin") as twin:
        assert propose_round(twin, RUNNING).picks == picks


def test_unseen_classes_never_reach_a_fit_and_tiles_that_nobody_can_tell_are_not_asked_for_again(project: Project):
    picks = propose_round(project, RUNNING, budget=11).picks
    taxonomy = project.taxonomy
    necrosis = taxonomy.index(UNSEEN)
    everything = np.full((64, 64), necrosis, np.uint8)
    everything[:9] = 0
    first, second, third = (p.tile for p in picks[:3])
    project.store.answers.add(NewAnswer(first, 1, "ann", "import", AnswerKind.DRAWN, 0, everything))
    project.store.answers.add(NewAnswer(second, 1, "ann", "page", AnswerKind.CANNOT_TELL, 0))
    project.store.answers.add(NewAnswer(third, 1, "ann", "page", AnswerKind.SKIPPED, 0))
    masks = drawn_masks(project.store, 1, taxonomy)
    assert list(masks) == [first]
    assert set(np.unique(masks[first])) == {0, IGNORE}
    fit_round(project, RUNNING)
    offered = {p.tile for p in propose_round(project, RUNNING, strategy="random", budget=12).picks}
    assert offered == set(range(12)) - {first, second}


def test_a_tile_without_a_seen_class_says_so_to_the_fit(project: Project, tissue: Dataset):
    proposal = propose_round(project, RUNNING)
    first, *others = [p.tile for p in proposal.picks]
    project.store.answers.add(NewAnswer(first, 1, "ann", "page", AnswerKind.NO_SEEN_CLASS, 0))
    for tile in others:
        project.store.answers.add(expert(project, tissue, tile, 1))
    masks = drawn_masks(project.store, 1, project.taxonomy)
    inner = np.zeros_like(masks[first], dtype=bool)
    inner[project.store.rounds.tiles()[first].inner] = True
    assert (masks[first][inner] == NO_SEEN).all()
    assert (masks[first][~inner] == IGNORE).all()
    assert not any((masks[tile] == NO_SEEN).any() for tile in others)
    assert fit_round(project, RUNNING).tiles == 3


def test_a_pool_that_is_used_up_says_so(project: Project, tissue: Dataset):
    for pick in propose_round(project, RUNNING, strategy="random", budget=12).picks:
        project.store.answers.add(expert(project, tissue, pick.tile, 1))
    project.store.rounds.advance(1, RoundState.FITTED)
    with pytest.raises(SettingsError, match="no tile is left to draw"):
        propose_round(project, RUNNING)


def test_drawings_that_exist_before_the_first_round_make_its_model(project: Project, tissue: Dataset):
    project.store.answers.add(expert(project, tissue, 5, 0))
    picks = propose_round(project, RUNNING).picks
    _, card = load_model(project.model_file(0))
    assert card.preset == "prozs"
    assert 5 not in {p.tile for p in picks}


@pytest.mark.slow
def test_the_loop_waits_for_people(project: Project, tissue: Dataset):
    def annotate() -> None:
        wait_until(lambda: project.store.rounds.newest().number > 0)  # type: ignore[union-attr]  # round 0 is there
        for user in ("ann", "bob"):
            while (work := project.store.leases.lease(user)) is not None:
                new = expert(project, tissue, work.pick.tile, 1, user)
                answer = NewAnswer(new.tile, 1, user, "page", new.kind, work.version, new.mask, reading=work.reading)
                project.store.answers.add(answer)

    person = threading.Thread(target=annotate, daemon=True)
    person.start()
    fitted = go_round(project, RUNNING, every=0.05)
    person.join()
    assert (fitted.number, fitted.tiles, fitted.left) == (1, 4, 0)


def test_a_project_without_slides_says_so(tmp_path: Path, project: Project):
    from aczerots.annotation.store.store import ProjectStore

    empty = Project(tmp_path, project.settings, ProjectStore(tmp_path / "empty.sqlite"))
    with pytest.raises(InputError, match="has no slides"):
        open_project_pool(empty, RUNNING)
    empty.store.close()
