"""Regions of a slide: what the newest model sees in one, and what is drawn in it."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.masks import decode_mask, paste_tile
from aczerots.annotation.store.store import ProjectStore
from aczerots.errors import NotFoundError
from aczerots.project.folder import Project
from aczerots.project.running import Running
from aczerots.slides.base import Box, Slide
from aczerots.taxonomy import IGNORE

if TYPE_CHECKING:
    from aczerots.predict.segmenter import Segmenter


@final
class RegionSegmenter:
    """Segments regions of slides with a project's newest model; may be used by several threads.

    Args:
        project: Open for as long as this is used.
        running: How to compute.
    """

    def __init__(self, project: Project, running: Running) -> None:
        self._project, self._running = project, running
        self._lock = Lock()
        self._newest: tuple[Path, int, Segmenter] | None = None

    def labels(self, slide: Slide, box: Box) -> NDArray[np.uint8]:
        """Label ids uint8 [height, width] of a box inside a slide, level-0 pixels, as ``predict`` gives them.

        Raises:
            NotFoundError: There is no model yet.
            InputError: The slide cannot be read.
        """
        with self._lock:  # one at a time: it takes all cores
            return self._segmenter().segment(slide, box, tissue=self._project.tissue.mask(slide)).labels

    def _segmenter(self) -> Segmenter:
        """The newest model, opened once; its backbone serves the next ones too."""
        from aczerots.predict.segmenter import load_segmenter  # takes longer to load than a server to start

        files = [self._project.model_file(r.number) for r in self._project.store.rounds.all() if r.model is not None]
        if not files or not files[-1].exists():
            raise NotFoundError("there is no model yet", fix="Run: aczerots select")
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


def drawn_labels(store: ProjectStore, slide: str, box: Box) -> NDArray[np.uint8]:
    """What counts as drawn in a box inside a slide: label ids uint8 [height, width], level-0 pixels, else IGNORE.

    Raises:
        NotFoundError: Nothing was drawn there.
    """
    tiles = store.rounds.tiles()
    labels = np.full((box.height, box.width), IGNORE, dtype=np.uint8)
    found = False
    for answer in store.answers.counting():
        tile = tiles[answer.tile]
        if tile.slide == slide and answer.mask is not None:
            found |= paste_tile(labels, (box.x, box.y), 1.0, tile, decode_mask(answer.mask))
    if not found:
        raise NotFoundError("nothing is drawn there", where=slide)
    return labels
