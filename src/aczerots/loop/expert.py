"""Who answers for the tiles of a round: people when they do, the simulated expert at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.masks import only_inside, only_seen
from aczerots.annotation.store.records import AnswerKind, NewAnswer
from aczerots.annotation.store.store import ProjectStore
from aczerots.engine.progress import Progress
from aczerots.errors import InputError
from aczerots.slides.base import LabelMap, Tile
from aczerots.taxonomy import Taxonomy

EXPERT = "simulated expert"


class Expert(Protocol):
    """Draws, or says of a tile that there is nothing to draw."""

    def answer(self, store: ProjectStore, number: int) -> None:
        """Return when every chosen tile of a round has its answer in the store."""


@final
class SimulatedExpert:
    """Draws the truth of the seen classes, and nothing else.

    Args:
        truth: Label maps by slide.
        taxonomy: The classes.
        progress: Receives progress.
    """

    def __init__(self, truth: Mapping[str, LabelMap], taxonomy: Taxonomy, progress: Progress) -> None:
        self._truth, self._taxonomy, self._progress = truth, taxonomy, progress

    def answer(self, store: ProjectStore, number: int) -> None:
        """Answer at once.

        Raises:
            InputError: No pixel of a seen class is drawn in any round so far.
        """
        tiles, picks = store.rounds.tiles(), store.rounds.picks(number)
        answered = store.answers.answered()
        missing = [p.tile for p in picks if p.tile not in answered]
        store.answers.add_all([self._answer(number, tile, tiles[tile]) for tile in missing])
        self._progress.step("annotate", len(picks), len(picks))
        if picks and not store.progress().classes:
            raise InputError(
                "no pixel of a seen class is annotated",
                where=f"{len(store.answers.answered())} annotated tiles",
                fix="Annotate more tiles, or start with a larger --initial or another --seed",
            )

    def _answer(self, number: int, position: int, tile: Tile) -> NewAnswer:
        key = f"simulated-{number}-{position}"
        return NewAnswer(position, number, EXPERT, "simulation", AnswerKind.DRAWN, 0, self.draw(tile), key=key)

    def draw(self, tile: Tile) -> NDArray[np.uint8]:
        """What it draws in a tile (:func:`draw`)."""
        return draw(self._truth[tile.slide], tile, self._taxonomy)


@final
class People:
    """Draw on the page, in QuPath, on another machine; this waits for them.

    Args:
        every: Seconds between looks at the answers.
        progress: Receives progress.
    """

    def __init__(self, every: float, progress: Progress) -> None:
        self._every, self._progress = every, progress

    def answer(self, store: ProjectStore, number: int) -> None:
        """Wait until every tile has its answer. Stopping meanwhile loses nothing."""
        while True:
            one = next(r for r in store.progress().rounds if r.number == number)
            self._progress.step("annotate", one.asked - one.left, one.asked)
            if not one.left:
                return
            time.sleep(self._every)


def read_truth(truth: LabelMap, tile: Tile) -> NDArray[np.uint8]:
    """Label ids uint8 [size, size] in the frame of the tile's window; IGNORE outside the tile's box."""
    return only_inside(truth.read(tile.window, (tile.size, tile.size)), tile)


def draw(truth: LabelMap, tile: Tile, taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """Label ids uint8 [size, size] of the seen classes in the frame of the tile's window; IGNORE elsewhere."""
    return only_seen(read_truth(truth, tile), taxonomy)
