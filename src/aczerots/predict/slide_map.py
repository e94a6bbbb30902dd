"""One slide from pixels to files, chunk by chunk; what is finished is never done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aczerots.engine.progress import Progress
from aczerots.errors import StorageError
from aczerots.predict.blend import ChunkScores, WindowFeatures, blocks, box_scores
from aczerots.predict.chunks import ChunkFolder, FinishedChunk
from aczerots.predict.probabilities import ProbabilityStore
from aczerots.predict.pyramid import LabelPyramid
from aczerots.predict.segmenter import Segmenter
from aczerots.predict.write import write_map
from aczerots.slides.base import Box, Slide
from aczerots.slides.frame import frame_of
from aczerots.slides.image import ImageSlide
from aczerots.slides.labelled import AUTO, EVERYWHERE, TissueRule
from aczerots.slides.tissue import TissueMask
from aczerots.slides.windows import Chunk, WindowPlan
from aczerots.storage.files import make_folder, write_text_atomic
from aczerots.storage.remote import OutFolder
from aczerots.taxonomy import IGNORE
from aczerots.version import __version__


@dataclass(frozen=True)
class MapOptions:
    """What a user may choose.

    Attributes:
        probabilities: Also write class probabilities.
        everywhere: Label glass too, whatever ``tissue`` says.
        overlap: Fraction of its side that a window has in common with the next; None takes what suits slide and
            backbone (:meth:`~aczerots.predict.segmenter.Segmenter.plan`).
        chunk: Side of a chunk in map pixels, None takes what memory allows.
        tissue: What gets a class (:class:`~aczerots.slides.labelled.TissueRule`).
    """

    probabilities: bool = False
    everywhere: bool = False
    overlap: float | None = None
    chunk: int | None = None
    tissue: str = AUTO


@dataclass(frozen=True)
class SlideMap:
    """What is known of a finished slide.

    Attributes:
        slide: Its id.
        counts: Map pixels of each class, label order.
        mpp: Micrometres per map pixel, None where not known.
    """

    slide: str
    counts: tuple[int, ...]
    mpp: float | None

    @property
    def fractions(self) -> tuple[float, ...]:
        """Fraction of what was labelled that is of each class; NaN where nothing was."""
        total = sum(self.counts)
        return tuple(c / total if total else float("nan") for c in self.counts)

    @property
    def areas(self) -> tuple[float | None, ...]:
        """mm2 of each class; None where the slide states no resolution."""
        return tuple(None if self.mpp is None else c * self.mpp**2 / 1e6 for c in self.counts)


class SlideTask:
    """The work on one slide, in parts that several processes may do, on machines that have only ``out`` in common.

    Args:
        segmenter: The model.
        slide: The slide.
        out: Where its files go, named after its id.
        options: See :class:`MapOptions`.

    Raises:
        InputError: The slide states no resolution that the model needs.
    """

    def __init__(self, segmenter: Segmenter, slide: Slide, out: OutFolder, options: MapOptions) -> None:
        self._segmenter, self._slide, self._out, self._options = segmenter, slide, out, options
        self._plan = segmenter.plan(slide, options.overlap, options.chunk)
        self._rule = TissueRule(segmenter.card.taxonomy, EVERYWHERE if options.everywhere else options.tissue)
        self._key = _key(segmenter, slide, self._plan, options, self._rule)
        self._record = f"{slide.id}.json"
        self._folder = f".{slide.id}.chunks"
        self._chunks = ChunkFolder(out.local / self._folder, self._key, self._plan.chunk)
        self.chunks = tuple(self._plan.chunks())

    @cached_property
    def tissue(self) -> TissueMask:
        """What is to be labelled.

        Raises:
            InputError: The slide cannot be read.
        """
        return self._rule.mask(self._slide)

    @cached_property
    def _features(self) -> WindowFeatures:
        return self._segmenter.features(self._slide, self._plan, self.tissue)

    def finished(self) -> SlideMap | None:
        """What is known of the slide if all its files are there, None otherwise.

        Raises:
            StorageError: The folder cannot be asked.
        """
        self._out.release(self._record)
        self._out.fetch(self._record)
        try:
            found: dict[str, Any] = json.loads((self._out.local / self._record).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        whole = found.get("key") == self._key and all(self._out.has(name) for name in found["files"])
        return SlideMap(self._slide.id, tuple(found["counts"]), self._plan.mpp) if whole else None

    def begin(self) -> None:
        """Make what all parts need; before any of them.

        Raises:
            StorageError: It cannot be written.
        """
        make_folder(self._out.local)
        self._store(begin=True)

    def compute(self, chunks: Sequence[Chunk], progress: Progress) -> list[FinishedChunk]:
        """Some chunks, those that are missing computed.

        Raises:
            InputError: The slide cannot be read.
            StorageError: A file cannot be written.
        """
        store = self._store()
        finished: list[FinishedChunk] = []
        with ThreadPoolExecutor(1, "paint") as painter:
            begun: list[Future[FinishedChunk]] = []
            for chunk in chunks:
                found = self._find(chunk)
                scores = self._scores(chunk) if found is None else None
                # One chunk at a time: what it takes counts twice already.
                self._gather(begun, finished, len(chunks), progress)
                begun.append(self._paint(painter, chunk, found, scores, store))
            self._gather(begun, finished, len(chunks), progress)
        return finished

    @property
    def painted_aside(self) -> bool:
        """Whether a thread makes labels of scores while an accelerator computes the next ones.

        On a processor both would want the same cores.
        """
        return self._segmenter.backbone.device.type != "cpu"

    def _scores(self, chunk: Chunk) -> ChunkScores | None:
        """Scores of a chunk, None if it shows no tissue."""
        if not self.tissue.any(self._plan.level0(chunk.box)):
            return None
        return box_scores(self._segmenter.model, self._plan, self._features, chunk.box, self.tissue)

    def _paint(
        self,
        painter: Executor,
        chunk: Chunk,
        found: FinishedChunk | None,
        scores: ChunkScores | None,
        store: ProbabilityStore | None,
    ) -> Future[FinishedChunk]:
        """Begin to make a finished chunk; one that was found is finished."""
        if found is None and self.painted_aside:
            return painter.submit(self._put, chunk, scores, store)
        done: Future[FinishedChunk] = Future()
        done.set_result(self._put(chunk, scores, store) if found is None else found)
        return done

    def _gather(
        self, begun: list[Future[FinishedChunk]], finished: list[FinishedChunk], count: int, progress: Progress
    ) -> None:
        """Wait for the chunks that are begun."""
        while begun:
            finished.append(begun.pop().result())
            progress.step(f"predict {self._slide.id}", len(finished), count)

    def finish(self, progress: Progress) -> SlideMap:
        """All files from the chunks; what was only on the way goes.

        Raises:
            InputError: The slide cannot be read.
            StorageError: A chunk is missing, or a file cannot be written.
        """
        if not self.tissue.mask.any():
            progress.say(f"{self._slide.id}: no tissue found; --everywhere labels all of it")
        elif isinstance(self._slide, ImageSlide) and self.tissue.fraction < 1:
            glass = f"{1 - self.tissue.fraction:.0%} of it is glass and gets no class"
            progress.say(f"{self._slide.id}: {glass}; --everywhere labels all of it")
        found = [(chunk, self._find(chunk)) for chunk in self.chunks]
        for chunk, done in found:
            if done is None:
                raise StorageError("a finished part has gone", where=chunk.name, fix="Run the same command again")
        done_chunks = [done for _, done in found if done is not None]
        pyramid = LabelPyramid(self._plan.size, done_chunks)
        taxonomy, out = self._segmenter.card.taxonomy, self._out
        written = write_map(self._slide, self._plan, pyramid, taxonomy, out.local, self._key, progress)
        for name in written:
            out.keep(name)
        kept = [*written, f"{self._slide.id}.probabilities.zarr"] if self._options.probabilities else written
        counts = tuple(int(n) for n in np.sum([c.counts for c in done_chunks], axis=0))
        content: dict[str, Any] = {
            "key": self._key,
            "slide": self._slide.id,
            "counts": counts,
            "classes": taxonomy.names,
        }
        content["frame"] = frame_of(self._slide).stated
        text = json.dumps(content | {"mpp": self._plan.mpp, "files": kept}, indent=1) + "\n"
        write_text_atomic(out.local / self._record, text)
        out.keep(self._record)
        out.drop(self._folder)
        for name in (*kept, self._record):
            out.release(name)
        return SlideMap(self._slide.id, counts, self._plan.mpp)

    def _find(self, chunk: Chunk) -> FinishedChunk | None:
        """A finished chunk."""
        self._out.fetch(f"{self._folder}/{chunk.name}.chunk")
        return self._chunks.find(chunk)

    def _put(self, chunk: Chunk, scores: ChunkScores | None, store: ProbabilityStore | None) -> FinishedChunk:
        """Labels and probabilities of a chunk, kept."""
        labels = np.full((chunk.box.height, chunk.box.width), IGNORE, dtype=np.uint8)
        if scores is not None:
            paint(scores, self._plan, self.tissue, chunk.box, labels)
            if store is not None:
                for name in store.put(chunk, scores, self.tissue):
                    self._out.keep(f"{self._slide.id}.probabilities.zarr/{name}")
        done = self._chunks.put(chunk, labels, len(self._segmenter.card.taxonomy))
        self._out.keep(f"{self._folder}/{chunk.name}.chunk")
        return done

    def _store(self, begin: bool = False) -> ProbabilityStore | None:
        """Where probabilities go, None if they are not asked for."""
        if not self._options.probabilities:
            return None
        name = f"{self._slide.id}.probabilities.zarr"
        self._out.fetch(f"{name}/zarr.json")
        taxonomy = self._segmenter.card.taxonomy
        store = ProbabilityStore(self._out.local / name, self._plan, taxonomy, self._key, frame_of(self._slide))
        if begin and store.new:
            # Elsewhere there may be parts of another one.
            self._out.drop(name)
            store = ProbabilityStore(self._out.local / name, self._plan, taxonomy, self._key, frame_of(self._slide))
            self._out.keep(f"{name}/zarr.json")
        return store


def segment_slide(task: SlideTask, progress: Progress) -> SlideMap:
    """Segment a slide and write all its files.

    An interrupted call goes on with the chunk that it had not finished, and ends with the same bytes. A call whose
    files are all there does nothing.

    Raises:
        InputError: The slide cannot be read.
        StorageError: A file cannot be written.
    """
    done = task.finished()
    if done is None:
        task.begin()
        task.compute(task.chunks, progress)
        done = task.finish(progress)
    return done


def paint(scores: ChunkScores, plan: WindowPlan, tissue: TissueMask, box: Box, labels: NDArray[np.uint8]) -> None:
    """Fill labels uint8 [box.height, box.width] of a box of the map: the best class on tissue, else IGNORE."""
    for block in blocks(box):
        area = plan.level0(block)
        if tissue.any(area):
            best = scores.best(block)
            inside = tissue.read(area, (block.width, block.height))
            y, x = block.y - box.y, block.x - box.x
            labels[y : y + block.height, x : x + block.width] = np.where(inside, best, IGNORE)


def _key(segmenter: Segmenter, slide: Slide, plan: WindowPlan, options: MapOptions, rule: TissueRule) -> str:
    """Hex SHA-256 of everything that decides the files."""
    parts: list[Any] = [__version__, segmenter.fingerprint, slide.fingerprint, slide.mpp, asdict(plan)]
    parts += [rule.key(slide), options.probabilities]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
