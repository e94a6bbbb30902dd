"""A project as the server holds it open: slides, tiles, and what runs in the background."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.store.records import PickRecord
from aczerots.engine.progress import Progress
from aczerots.errors import NotFoundError
from aczerots.project.folder import Project
from aczerots.server.deepzoom import DeepZoom
from aczerots.server.jobs import JobRunner
from aczerots.slides.base import Box, Slide, Tile
from aczerots.text.descriptions import describe_taxonomy


class ServedProject:
    """What the routes work with; may be used by several threads.

    Attributes:
        taxonomy: The classes with their descriptions.
        slides: The slides; a slide keeps its place.
        advance: Fits, measures and proposes the next round.
        segment: What the newest model sees in a box (level-0 pixels) of a slide, label ids uint8 [height, width].
        jobs: Runs ``advance`` in the background.
        zoom: Deep-zoom tiles of the slides.

    Raises:
        InputError: A slide is missing or has changed.
    """

    def __init__(
        self,
        project: Project,
        advance: Callable[[Progress], None],
        segment: Callable[[Slide, Box], NDArray[np.uint8]],
    ) -> None:
        self.project, self.store = project, project.store
        self.name = project.folder.resolve().name
        self.taxonomy = describe_taxonomy(project.taxonomy, project.settings.text)
        self.advance, self.segment = advance, segment
        self.jobs, self.zoom = JobRunner(), DeepZoom()
        self.slides, self._pool = tuple(project.slides.values()), project.store.rounds.tiles()
        self._picks: tuple[int, Mapping[int, PickRecord]] = -1, {}
        self._lock = Lock()

    @property
    def pool(self) -> Sequence[Tile]:
        """Its tiles, those of slides included that were imported since the server was started."""
        pool = self.store.rounds.tiles()
        if len(pool) > len(self._pool):
            self.project = replace(self.project)  # a project opens its slides once
            self.slides, self._pool = tuple(self.project.slides.values()), pool
        return self._pool

    @property
    def strategy(self) -> str:
        """What chose the newest round, or will choose the first."""
        newest = self.store.rounds.newest()
        return self.project.settings.strategy if newest is None or newest.number == 0 else newest.strategy

    def tile(self, position: int) -> Tile:
        """A tile of the pool.

        Raises:
            NotFoundError: No such tile.
        """
        pool = self._pool if position < len(self._pool) else self.pool
        if position >= len(pool):
            raise NotFoundError(f"there is no tile {position}")
        return pool[position]

    def slide(self, number: int) -> Slide:
        """A slide by its place.

        Raises:
            NotFoundError: No such slide.
        """
        if number >= len(self.slides):
            raise NotFoundError(f"there is no slide {number}")
        return self.slides[number]

    def pick(self, position: int) -> tuple[int, PickRecord]:
        """(number of the newest round, newest pick of a tile); picks are read once per round.

        Raises:
            NotFoundError: No such tile, or it is in no round.
        """
        self.tile(position)
        number = self.store.rounds.last()
        with self._lock:
            if self._picks[0] != number:
                self._picks = number, {p.tile: p for p in self.store.rounds.picks()}
            pick = self._picks[1].get(position)
        if pick is None:
            raise NotFoundError(f"tile {position} is in no round")
        return number, pick
