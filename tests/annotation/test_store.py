"""The database: what was acknowledged is there, whatever happened afterwards."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aczerots.annotation.run_store import RoundState, Store
from aczerots.errors import InputError, StorageError
from aczerots.slides.base import Box, Tile

TILES = [Tile("s", Box(i, 0, 8, 8), Box(i, 0, 8, 8), 8) for i in range(5)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path / "run.db")
    found.set_tiles(TILES)
    yield found
    found.close()


def test_a_round_moves_forward_and_is_remembered(store: Store):
    assert store.state(1) is None
    store.propose(1, [3, 1], [0.9, 0.5], [{"coverage": 0.4}, {"coverage": 0.1}])
    assert store.state(1) is RoundState.PROPOSED
    store.annotate(1, 3, np.zeros((8, 8), np.uint8), "an expert")
    assert store.state(1) is RoundState.ANNOTATING
    store.advance(1, RoundState.FITTED, seconds={"fit": 2.0})
    store.advance(
        1, RoundState.EVALUATED, metrics={"hiou": 0.5, "miou_unseen": float("nan")}, seconds={"evaluate": 1.0}
    )
    again = Store(store.path)
    assert again.results() == [(1, {"hiou": 0.5, "miou_unseen": None}, {"fit": 2.0, "evaluate": 1.0})]
    assert [(p.round, p.rank, p.tile, p.score, p.components) for p in again.picks()] == [
        (1, 1, 3, 0.9, {"coverage": 0.4}),
        (1, 2, 1, 0.5, {"coverage": 0.1}),
    ]
    again.close()


def test_the_newest_annotation_counts_and_masks_are_exact(store: Store):
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (8, 8)).astype(np.uint8) for _ in range(2))
    store.propose(1, [2], [1.0], [{}])
    store.annotate(1, 2, first, "a")
    store.annotate(1, 2, second, "b")
    assert list(store.annotations(0)) == []
    np.testing.assert_array_equal(store.annotations(1)[2], second)


def test_a_tile_is_never_proposed_twice(store: Store):
    store.propose(1, [2], [1.0], [{}])
    with pytest.raises(StorageError, match="database error"):
        store.propose(2, [4, 2], [1.0, 0.9], [{}, {}])
    assert store.state(2) is None
    assert [p.tile for p in store.picks()] == [2]


def test_another_pool_is_refused(store: Store):
    store.set_tiles(TILES)
    with pytest.raises(InputError, match="not the one this run began with"):
        store.set_tiles(TILES[:4])


def test_a_file_that_is_no_database_is_one_clear_error(tmp_path: Path):
    (tmp_path / "run.db").write_bytes(b"x" * 5000)
    with pytest.raises(StorageError, match=r"run\.db"):
        Store(tmp_path / "run.db")


KILLED = """
import sys, os, signal
import numpy as np
from pathlib import Path
from aczerots.annotation.run_store import Store
store = Store(Path(sys.argv[1]))
for i in range(5):
    store.annotate(1, i, np.full((8, 8), i, np.uint8), "a")
    print(i, flush=True)
    if i == 3:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_acknowledged_survives_a_kill(store: Store):
    store.propose(1, [0, 1, 2, 3, 4], [1.0] * 5, [{}] * 5)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(store.path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL
    acknowledged = [int(x) for x in done.stdout.split()]
    assert acknowledged == [0, 1, 2, 3]
    assert list(store.annotations(1)) == acknowledged
