"""What was acknowledged is there, whatever happened afterwards."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.patience import PATIENCE

from aczerots.annotation.store.records import AnswerKind, NewAnswer, PickRecord, RoundState, SlideRecord
from aczerots.annotation.store.store import ProjectStore
from aczerots.errors import InputError, SettingsError, StorageError
from aczerots.slides.base import Box, Tile

TILES = [Tile("s", Box(i, 0, 8, 8), Box(i, 0, 8, 8), 8) for i in range(5)]
SLIDE = SlideRecord("s", "s.png", "abc", 12, 8, None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ProjectStore]:
    found = ProjectStore(tmp_path / "run.db")
    found.rounds.add_slides([(SLIDE, TILES)])
    found.rounds.propose(0, "zeroshot", [])
    found.rounds.advance(0, RoundState.FITTED)
    yield found
    found.close()


def propose(store: ProjectStore, tiles: list[int]) -> None:
    picks = [PickRecord(1, i + 1, tile, 1 - i / 10, {"coverage": i / 10}) for i, tile in enumerate(tiles)]
    store.rounds.propose(1, "random", picks)


def draw(store: ProjectStore, tile: int, mask: np.ndarray, author: str = "a", based_on: int = 0) -> None:
    store.answers.add(NewAnswer(tile, 1, author, "test", AnswerKind.DRAWN, based_on, mask))


def test_a_round_moves_forward_and_is_remembered(store: ProjectStore, tmp_path: Path):
    propose(store, [3, 1])
    assert store.rounds.all()[1].state is RoundState.PROPOSED
    draw(store, 3, np.zeros((8, 8), np.uint8))
    assert store.rounds.all()[1].state is RoundState.ANNOTATING
    store.rounds.advance(1, RoundState.FITTED, seconds={"fit": 2.0})
    metrics = {"hiou": 0.5, "miou_unseen": float("nan")}
    store.rounds.advance(1, RoundState.EVALUATED, metrics=metrics, seconds={"evaluate": 1.0})
    again = ProjectStore(tmp_path / "run.db")
    done = again.rounds.all()[1]
    assert (done.metrics, done.seconds) == ({"hiou": 0.5, "miou_unseen": None}, {"fit": 2.0, "evaluate": 1.0})
    assert [(p.round, p.rank, p.tile, p.score, p.components) for p in again.rounds.picks()] == [
        (1, 1, 3, 1.0, {"coverage": 0.0}),
        (1, 2, 1, 0.9, {"coverage": 0.1}),
    ]
    again.close()


def test_the_newest_annotation_counts_and_masks_are_exact(store: ProjectStore):
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 255, (8, 8)).astype(np.uint8) for _ in range(2))
    propose(store, [2])
    draw(store, 2, first)
    draw(store, 2, second, "b", based_on=1)
    assert list(store.answers.masks(0)) == []
    np.testing.assert_array_equal(store.answers.masks(1)[2], second)


def test_a_tile_is_never_proposed_twice_in_a_round(store: ProjectStore):
    with pytest.raises(StorageError, match="database error"):
        propose(store, [4, 2, 4])
    assert len(store.rounds.all()) == 1
    assert store.rounds.picks() == []


def test_slides_are_added_all_or_none(store: ProjectStore):
    other = SlideRecord("t", "t.png", "def", 8, 8, None)
    changed = SlideRecord("s", "s.png", "changed", 12, 8, None)
    with pytest.raises(InputError, match="other pixels"):
        store.rounds.add_slides([(other, [Tile("t", Box(0, 0, 8, 8), Box(0, 0, 8, 8), 8)]), (changed, [])])
    assert [s.id for s in store.rounds.slides()] == ["s"]
    assert store.rounds.tiles() == TILES
    assert store.rounds.add_slides([(SLIDE, TILES)]) == [False]


def test_a_round_is_proposed_once(store: ProjectStore):
    propose(store, [1])
    with pytest.raises(SettingsError, match="cannot begin"):
        propose(store, [2])


def test_a_file_that_is_no_database_is_one_clear_error(tmp_path: Path):
    (tmp_path / "run.db").write_bytes(b"x" * 5000)
    with pytest.raises(StorageError, match=r"run\.db"):
        ProjectStore(tmp_path / "run.db")


KILLED = """
import sys, os, signal
import numpy as np
from pathlib import Path
from aczerots.annotation.store.records import AnswerKind, NewAnswer
from aczerots.annotation.store.store import ProjectStore
store = ProjectStore(Path(sys.argv[1]))
for i in range(5):
    store.answers.add(NewAnswer(i, 1, "a", "test", AnswerKind.DRAWN, 0, np.full((8, 8), i, np.uint8)))
    print(i, flush=True)
    if i == 3:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_acknowledged_survives_a_kill(store: ProjectStore, tmp_path: Path):
    propose(store, [0, 1, 2, 3, 4])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "run.db")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
        timeout=PATIENCE,
    )
    assert done.returncode == -signal.SIGKILL
    acknowledged = [int(x) for x in done.stdout.split()]
    assert acknowledged == [0, 1, 2, 3]
    assert list(store.answers.masks(1)) == acknowledged
