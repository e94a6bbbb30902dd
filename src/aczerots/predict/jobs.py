"""Slides as units of work for an engine: a slide, or a chunk of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from aczerots.engine.progress import Progress, Silent
from aczerots.errors import AczerotsError, InputError
from aczerots.predict.segmenter import Segmenter, load_segmenter
from aczerots.predict.slide_map import MapOptions, SlideMap, SlideTask, segment_slide
from aczerots.slides.open import open_slide
from aczerots.storage.remote import OutFolder, SlideFetcher, name_of, open_folder
from aczerots.taxonomy import TissueClass


@dataclass(frozen=True)
class MapUnit:
    """A part of the work on a slide.

    Attributes:
        slide: Path or URL.
        stage: ``begin`` looks at the slide and does all of it if that is one chunk, ``chunk`` computes one,
            ``finish`` writes the files.
        chunk: Number of the chunk, for the stage ``chunk``.
    """

    slide: str
    stage: Literal["begin", "chunk", "finish"] = "begin"
    chunk: int = 0


@dataclass(frozen=True)
class MapAnswer:
    """What came of a unit.

    Attributes:
        unit: The unit.
        map: The finished slide, None if it is not yet.
        chunks: Chunks of the slide that are now to be computed, after ``begin``.
        notes: What the user should hear.
    """

    unit: MapUnit
    map: SlideMap | None = None
    chunks: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class MapJob:
    """Segmenting slides; satisfies :class:`~aczerots.engine.base.Job`.

    Attributes:
        model: Model file, path or URL.
        out: Folder for the results, path or URL.
        mpp: Micrometres per level-0 pixel of all slides, against what files state; None takes what they state.
        extra: Further classes, known by words.
        options: What is written and how.
        split: Whether a slide may be parted among workers.
        compiled: Compile the backbone's forward pass.
        trust_remote_code: Let the backbone's repository run Python code that it brings along.
        progress: Receives chunks where the work is done in this process; other workers are silent.
    """

    model: str
    out: str
    mpp: float | None = None
    extra: tuple[TissueClass, ...] = ()
    options: MapOptions = field(default_factory=MapOptions)
    split: bool = False
    compiled: bool = False
    trust_remote_code: bool = False
    progress: Progress = field(default_factory=Silent)

    def open(self, device: str) -> Callable[[MapUnit], MapAnswer]:
        """See :class:`~aczerots.engine.base.Job`.

        Raises:
            InputError: The model or its backbone cannot be used.
        """
        fetcher = SlideFetcher()
        segmenter = load_segmenter(
            fetcher.fetch(self.model), device, compiled=self.compiled, trust_remote_code=self.trust_remote_code
        )
        if self.extra:
            segmenter = segmenter.with_classes(self.extra)
        return Mapper(self, segmenter, open_folder(self.out), fetcher)


class Mapper:
    """Does units; keeps the slide that it had last open, since the next unit is often of the same.

    Args:
        job: The job.
        segmenter: Its model.
        out: Its folder.
        fetcher: Copies slides from URLs.
    """

    def __init__(self, job: MapJob, segmenter: Segmenter, out: OutFolder, fetcher: SlideFetcher) -> None:
        self._job, self._segmenter, self._out, self._fetcher = job, segmenter, out, fetcher
        self._open: tuple[str, SlideTask] | None = None

    def __call__(self, unit: MapUnit) -> MapAnswer:
        """Do a unit.

        Raises:
            InputError: The slide cannot be used; the message names it as the user did.
            StorageError: A file cannot be written.
        """
        notes = _Notes(self._job.progress)
        try:
            return self._do(unit, self._task(unit, notes), notes)
        except InputError as error:
            self._open = None
            raise _named(error, unit.slide) from error

    def _task(self, unit: MapUnit, notes: _Notes) -> SlideTask:
        place = unit.slide
        if self._open is None or self._open[0] != place:
            # The one before must let go of its copy first.
            self._open = None
            # Other workers open the slide again, with nothing new to tell.
            tell = notes.say if unit.stage == "begin" else None
            slide = open_slide(self._fetcher.fetch(place), self._job.mpp, tell=tell)
            self._open = place, SlideTask(self._segmenter, slide, self._out, self._job.options)
        return self._open[1]

    def _do(self, unit: MapUnit, task: SlideTask, notes: _Notes) -> MapAnswer:
        if unit.stage == "chunk":
            task.compute(task.chunks[unit.chunk : unit.chunk + 1], notes)
            return MapAnswer(unit)
        if unit.stage == "finish":
            return MapAnswer(unit, task.finish(notes), notes=tuple(notes.lines))
        if not self._job.split or len(task.chunks) == 1:
            return MapAnswer(unit, segment_slide(task, notes), notes=tuple(notes.lines))
        done = task.finished()
        if done is None:
            task.begin()
        return MapAnswer(unit, done, 0 if done else len(task.chunks), tuple(notes.lines))


class _Notes:
    """Passes steps on and keeps lines; satisfies :class:`~aczerots.engine.progress.Progress`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def step(self, stage: str, done: int, total: int) -> None:
        self._progress.step(stage, done, total)


def _named(error: AczerotsError, place: str) -> InputError:
    """The error with the place it is about; some know only the slide's id, or where its copy lies."""
    text = str(error)
    if place in text:
        return InputError(text)
    name = name_of(place)
    if error.where is not None and error.where.endswith(name):
        return InputError(error.what, where=place, fix=error.fix)
    return InputError(text, where=place)
