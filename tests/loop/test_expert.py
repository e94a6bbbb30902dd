"""Whoever the expert is: when it returns, every chosen tile has its answer."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from aczerots.annotation.store.records import AnswerKind, NewAnswer, PickRecord, RoundState, SlideRecord
from aczerots.annotation.store.store import ProjectStore
from aczerots.datasets.base import Dataset
from aczerots.datasets.phantom import phantom_dataset
from aczerots.engine.progress import Silent
from aczerots.errors import InputError
from aczerots.loop.answers import count_drawn, drawn_masks, known_masks
from aczerots.loop.expert import Expert, People, SimulatedExpert
from aczerots.slides.base import Tile
from aczerots.taxonomy import IGNORE, NO_SEEN

PICKS = (2, 0, 3)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Two slides of four tiles each; necrosis is unseen."""
    made = phantom_dataset(2, size=64, seed=3)
    return Dataset(made.name, made.taxonomy.with_unseen(["necrosis"]), made.samples)


@pytest.fixture
def store(data: Dataset, tmp_path: Path) -> Iterator[ProjectStore]:
    """Round 1 asks for three tiles."""
    found = ProjectStore(tmp_path / "run.db")
    tiles = [t for split in ("train", "test") for t in data.tiles(split, 32)]
    by_slide = {s.slide.id: [t for t in tiles if t.slide == s.slide.id] for s in data.samples}
    slides = [data[name].slide for name in by_slide]
    records = [SlideRecord(s.id, s.id, s.fingerprint, *s.size, s.mpp) for s in slides]
    found.rounds.add_slides([(record, by_slide[record.id]) for record in records])
    found.rounds.propose(0, "zeroshot", [])
    found.rounds.advance(0, RoundState.FITTED)
    found.rounds.propose(1, "random", [PickRecord(1, i + 1, tile, 0.5, {}) for i, tile in enumerate(PICKS)])
    yield found
    found.close()


def simulated(data: Dataset) -> SimulatedExpert:
    return SimulatedExpert({s.slide.id: s.truth for s in data.samples}, data.taxonomy, Silent())


def draw_all(store: ProjectStore) -> None:
    for tile in PICKS:
        mask = np.zeros((32, 32), dtype=np.uint8)
        store.answers.add(NewAnswer(tile, 1, "ann", "page", AnswerKind.DRAWN, 0, mask))


@pytest.mark.parametrize("kind", ["simulated", "people"])
def test_every_chosen_tile_is_answered_and_none_twice(kind: str, data: Dataset, store: ProjectStore) -> None:
    expert: Expert = simulated(data)
    if kind == "people":
        expert = People(0.01, Silent())
        Thread(target=draw_all, args=[store]).start()
    expert.answer(store, 1)
    assert store.answers.answered() == set(PICKS)
    before = [a.id for a in store.answers.counting()]
    expert.answer(store, 1)
    assert [a.id for a in store.answers.counting()] == before


def test_the_simulated_expert_draws_the_truth_of_the_seen_classes(data: Dataset, store: ProjectStore) -> None:
    simulated(data).answer(store, 1)
    masks, tiles = drawn_masks(store, 1, data.taxonomy), store.rounds.tiles()
    assert list(masks) == sorted(PICKS)
    for position, mask in masks.items():
        tile: Tile = tiles[position]
        truth = data[tile.slide].truth.read(tile.window, (32, 32))
        seen = np.isin(truth, data.taxonomy.seen_ids)
        assert (mask[seen] == truth[seen]).all()
        assert (mask[~seen] == IGNORE).all()
    assert count_drawn(masks) == 3


def test_an_expert_who_never_saw_a_seen_class_is_an_error(data: Dataset, store: ProjectStore) -> None:
    only = SimulatedExpert({s.slide.id: Nothing() for s in data.samples}, data.taxonomy, Silent())
    with pytest.raises(InputError, match="no pixel of a seen class is annotated"):
        only.answer(store, 1)
    assert store.answers.answered() == set(PICKS), "what was answered is kept"


class Nothing:
    """A truth without a class."""

    def read(self, box: object, size: tuple[int, int]) -> np.ndarray:
        del box
        return np.full((size[1], size[0]), IGNORE, dtype=np.uint8)


def test_what_need_not_be_asked_for_again(data: Dataset, store: ProjectStore) -> None:
    store.answers.add(NewAnswer(2, 1, "ann", "page", AnswerKind.CANNOT_TELL, 0))
    store.answers.add(NewAnswer(0, 1, "ann", "page", AnswerKind.NO_SEEN_CLASS, 0))
    store.answers.add(NewAnswer(3, 1, "ann", "page", AnswerKind.SKIPPED, 0))
    assert list(known_masks(store)) == [0, 2], "a skipped tile may be asked for again"
    masks = drawn_masks(store, 1, data.taxonomy)
    assert list(masks) == [0]
    assert (masks[0] == NO_SEEN).all()
    assert count_drawn(masks) == 0
