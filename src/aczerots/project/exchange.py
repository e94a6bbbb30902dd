"""A project for clients of MONAI Label; satisfies :class:`~aczerots.server.monai.ports.Exchange`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import final

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.geojson import Drawings
from aczerots.annotation.formats.masks import decode_mask
from aczerots.predict.segmenter import Segmenter, load_segmenter
from aczerots.project.bench import Running
from aczerots.project.folder import Project
from aczerots.project.ingest import Ingested, Intake, take_drawings
from aczerots.server.monai.ports import Asked, Taken
from aczerots.server.ports import UnknownTileError
from aczerots.slides.base import Box, Slide, Tile
from aczerots.taxonomy import IGNORE

TOOL = "monai label"
"""What answers from these clients are marked with."""


@final
class ProjectExchange:
    """A project behind the MONAI Label protocol.

    Args:
        project: Open for as long as this is used.
        running: How to compute.
    """

    def __init__(self, project: Project, running: Running) -> None:
        self._project, self._running = project, running
        self._lock = Lock()
        self._newest: tuple[Path, int, Segmenter] | None = None

    @property
    def strategy(self) -> str:
        """What chooses its tiles."""
        newest = self._project.store.rounds.newest()
        return self._project.settings.strategy if newest is None or newest.number == 0 else newest.strategy

    def asked(self) -> list[Asked]:
        """See :class:`~aczerots.server.monai.ports.Exchange`."""
        tiles = self._project.store.rounds.tiles()
        answered = self._project.store.answers.answered()
        return [Asked(tiles[i], i in answered) for i in sorted({p.tile for p in self._project.store.rounds.picks()})]

    def next_tile(self, user: str, slide: str | None) -> Tile | None:
        """See :class:`~aczerots.server.monai.ports.Exchange`."""
        work = self._project.store.leases.lease(user, slide=slide)
        return None if work is None else work.tile

    def labels(self, slide: str, box: Box) -> NDArray[np.uint8]:
        """See :class:`~aczerots.server.monai.ports.Exchange`."""
        found = self._slide(slide)
        with self._lock:  # one at a time: it takes all cores
            return self._segmenter().segment(found, box).labels

    def drawn(self, slide: str, box: Box) -> NDArray[np.uint8]:
        """See :class:`~aczerots.server.monai.ports.Exchange`."""
        tiles = self._project.store.rounds.tiles()
        labels = np.full((box.height, box.width), IGNORE, dtype=np.uint8)
        found = False
        for answer in self._project.store.answers.counting():
            tile = tiles[answer.tile]
            if tile.slide == slide and answer.mask is not None:
                found |= _put(labels, box, tile, decode_mask(answer.mask))
        if not found:
            raise UnknownTileError("nothing is drawn there", where=slide)
        return labels

    def _slide(self, name: str) -> Slide:
        if name not in self._project.slides:  # imported since the server was started
            self._project = Project(self._project.folder, self._project.settings, self._project.store)
        return self._project.slides[name]

    def _segmenter(self) -> Segmenter:
        """The newest model, opened once; its backbone serves the next ones too."""
        files = [self._project.model_file(r.number) for r in self._project.store.rounds.all() if r.model is not None]
        if not files or not files[-1].exists():
            raise UnknownTileError("there is no model yet", fix="Run: aczerots select")
        stamp = files[-1].stat().st_mtime_ns
        if self._newest is None or self._newest[:2] != (files[-1], stamp):
            running = self._running
            found = load_segmenter(
                files[-1],
                running.device,
                compiled=running.compiled,
                trust_remote_code=running.trust_remote_code,
                opened=None if self._newest is None else self._newest[2].backbone,
            )
            self._newest = files[-1], stamp, found
        return self._newest[2]

    def take(self, user: str, slide: str, drawings: Drawings, patch: Box | None) -> Taken:
        """See :class:`~aczerots.server.monai.ports.Exchange`."""
        intake = Intake(user, TOOL, accept=patch is not None, yields=patch is None, patch=patch)
        report = Ingested(Path(slide), slide, len(drawings.drawings), unused=list(drawings.unused))
        take_drawings(self._project, drawings, intake, report)
        return Taken(report.answers, report.unchanged, report.untouched, report.stale, report.unused)

    def file(self, slide: str) -> Path:
        """See :class:`~aczerots.server.monai.ports.Exchange`."""
        fact = next(f for f in self._project.store.rounds.slides() if f.id == slide)
        return self._project.folder.resolve() / fact.path

    def trail(self, lines: int) -> Sequence[str]:
        """See :class:`~aczerots.server.monai.ports.Exchange`."""
        events = self._project.store.people.events()[-lines:]
        return [f"{e.time:%Y-%m-%d %H:%M:%S} {e.user or '-'} {e.what} {dict(e.about)}" for e in events]


def _put(labels: NDArray[np.uint8], box: Box, tile: Tile, mask: NDArray[np.uint8]) -> bool:
    """Put the mask of a tile into the labels uint8 [h, w] of a box; whether it reaches into the box.

    A level-0 pixel takes the label of the mask's pixel that covers its centre.
    """
    x, y = max(box.x, tile.box.x), max(box.y, tile.box.y)
    right = min(box.x + box.width, tile.box.x + tile.box.width)
    bottom = min(box.y + box.height, tile.box.y + tile.box.height)
    if right <= x or bottom <= y:
        return False
    step = tile.window.width / tile.size
    columns = ((np.arange(x, right) + 0.5 - tile.window.x) / step).astype(int).clip(0, tile.size - 1)
    rows = ((np.arange(y, bottom) + 0.5 - tile.window.y) / step).astype(int).clip(0, tile.size - 1)
    labels[y - box.y : bottom - box.y, x - box.x : right - box.x] = mask[np.ix_(rows, columns)]
    return True
