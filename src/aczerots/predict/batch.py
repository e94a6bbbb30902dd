"""Many slides on an engine: what follows from what, what is known so far, what failed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from aczerots.engine.base import Engine, Failure
from aczerots.engine.progress import Progress
from aczerots.errors import AczerotsError, InputError, StorageError
from aczerots.predict.areas import write_areas
from aczerots.predict.jobs import MapAnswer, MapJob, MapUnit
from aczerots.predict.slide_map import SlideMap
from aczerots.storage.remote import open_folder
from aczerots.taxonomy import Taxonomy

_SECONDS = 5.0
"""Between two writings of the table of areas, whose size follows the batch."""


class SlideBatch:
    """Slides on their way through an engine.

    Args:
        slides: Paths or URLs.
        job: What is done with them.
        taxonomy: The classes of the model.
        areas: Name of the table of areas.
        progress: Receives slides.
    """

    def __init__(self, slides: Sequence[str], job: MapJob, taxonomy: Taxonomy, areas: str, progress: Progress) -> None:
        self._slides, self._job, self._taxonomy, self._areas, self._progress = slides, job, taxonomy, areas, progress
        self._out = open_folder(job.out)
        self._maps: dict[str, SlideMap] = {}
        self._failures: dict[str, AczerotsError] = {}
        self._open_parts: dict[str, int] = {}
        self._written = -_SECONDS

    def run(self, engine: Engine) -> tuple[dict[str, SlideMap], list[AczerotsError]]:
        """Run all slides.

        Returns:
            (finished slides by place, errors of the others), both in the order of the slides.

        Raises:
            AczerotsError: The model cannot be used, there are no workers, or results cannot be written.
        """
        try:
            engine.run(self._job, [MapUnit(slide) for slide in self._slides], self._ended)
        finally:
            # An interrupt must not cost the areas of slides that are finished.
            self._write_areas()
        maps = {slide: self._maps[slide] for slide in self._slides if slide in self._maps}
        return maps, [self._failures[slide] for slide in self._slides if slide in self._failures]

    def _ended(self, unit: MapUnit, outcome: MapAnswer | Failure) -> list[MapUnit]:
        """What follows from a unit."""
        slide = unit.slide
        if isinstance(outcome, Failure):
            self._fail(slide, outcome)
        elif outcome.map is not None:
            self._maps[slide] = outcome.map
        elif unit.stage == "begin":
            self._open_parts[slide] = outcome.chunks
            return [MapUnit(slide, "chunk", i) for i in range(outcome.chunks)]
        follows: list[MapUnit] = []
        if unit.stage == "chunk":
            self._open_parts[slide] -= 1
            if not self._open_parts[slide] and slide not in self._failures:
                follows = [MapUnit(slide, "finish")]
        self._tell(() if isinstance(outcome, Failure) else outcome.notes)
        return follows

    def _fail(self, slide: str, failure: Failure) -> None:
        """Remember the first failure of a slide.

        Raises:
            StorageError: Results cannot be written: no other slide would fare better.
        """
        if failure.kind == StorageError.__name__:
            raise StorageError(failure.reason)
        known = slide in failure.reason
        self._failures.setdefault(slide, InputError(failure.reason, where=None if known else slide))

    def _tell(self, notes: Sequence[str]) -> None:
        for note in notes:
            self._progress.say(note)
        done = len(self._maps) + len(self._failures)
        if len(self._slides) > 1:
            self._progress.step("slides", done, len(self._slides))
        if self._maps and time.monotonic() - self._written >= _SECONDS:
            self._write_areas()

    def _write_areas(self) -> None:
        """The table of what is finished, in the order of the slides."""
        if self._maps:
            maps = [self._maps[slide] for slide in self._slides if slide in self._maps]
            write_areas(self._out.local / self._areas, maps, self._taxonomy)
            self._out.keep(self._areas)
        self._written = time.monotonic()
