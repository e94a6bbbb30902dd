"""One slide from pixels to files, chunk by chunk; what is finished is never done again."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aczerots import __version__
from aczerots.blend import ChunkScores, blocks, chunk_scores
from aczerots.errors import MissingExtraError
from aczerots.files import make_folder, write_text_atomic
from aczerots.maps.chunks import ChunkFolder, Done
from aczerots.maps.polygons import geojson, polygon_features
from aczerots.maps.probabilities import ProbabilityStore
from aczerots.maps.pyramid import LabelPyramid, write_ome_tiff, write_plain_tiff
from aczerots.predict import Segmenter
from aczerots.progress import Progress
from aczerots.report.images import display_palette, overlay, write_palette_png, write_png
from aczerots.slides.base import Box, Slide
from aczerots.slides.image import ImageSlide
from aczerots.slides.pixels import nearest
from aczerots.slides.tissue import TissueMask, everything, find_tissue, thumbnail
from aczerots.slides.windows import OVERLAP, Plan
from aczerots.taxonomy import IGNORE, Taxonomy

TRACED = 26_000_000
"""Pixels of the level that polygons are traced on, at most; memory must not follow the slide."""


@dataclass(frozen=True)
class MapOptions:
    """What a user may choose.

    Attributes:
        probabilities: Also write class probabilities.
        everywhere: Label glass too, not only tissue. Plain images are always labelled everywhere.
        overlap: Share of its side that a window has in common with the next.
        chunk: Side of a chunk in map pixels, None takes what memory allows.
    """

    probabilities: bool = False
    everywhere: bool = False
    overlap: float = OVERLAP
    chunk: int | None = None


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
    def shares(self) -> tuple[float, ...]:
        """Share of each class in what was labelled; NaN where nothing was."""
        total = sum(self.counts)
        return tuple(c / total if total else float("nan") for c in self.counts)

    @property
    def areas(self) -> tuple[float | None, ...]:
        """mm2 of each class; None where the slide states no resolution."""
        return tuple(None if self.mpp is None else c * self.mpp**2 / 1e6 for c in self.counts)


def map_slide(segmenter: Segmenter, slide: Slide, out: Path, options: MapOptions, progress: Progress) -> SlideMap:
    """Segment a slide and write all its files, named after its id.

    An interrupted call goes on with the chunk that it had not finished, and ends with the same bytes. A call whose
    files are all there does nothing.

    Args:
        segmenter: The model.
        slide: The slide.
        out: Folder, made if missing.
        options: See :class:`MapOptions`.
        progress: Receives chunks.

    Raises:
        InputError: The slide cannot be read, or states no resolution that the model needs.
        StorageError: A file cannot be written.
    """
    plain = isinstance(slide, ImageSlide)
    plan = segmenter.plan(slide, options.overlap, options.chunk)
    tissue = everything(slide) if plain or options.everywhere else find_tissue(slide)
    key = _key(segmenter, slide, plan, tissue, options)
    facts = out / f"{slide.id}.json"
    done = _finished(facts, key, out)
    if done is not None:
        return SlideMap(slide.id, tuple(done["counts"]), plan.mpp)
    if not tissue.mask.any():
        progress.say(f"{slide.id}: no tissue found; --everywhere labels all of it")
    make_folder(out)
    folder = out / f".{slide.id}.chunks"
    store = _store(out, segmenter, plan, key, options)
    chunks = _work(segmenter, slide, plan, tissue, ChunkFolder(folder, key, plan.chunk), store, progress)
    pyramid = LabelPyramid(plan.size, chunks)
    written = _write(slide, plan, pyramid, segmenter.card.taxonomy, out, key, progress)
    if options.probabilities:
        written.append(f"{slide.id}.probabilities.zarr")
    counts = tuple(int(n) for n in np.sum([c.counts for c in chunks], axis=0))
    content = {"key": key, "slide": slide.id, "counts": counts, "classes": segmenter.card.taxonomy.names}
    write_text_atomic(facts, json.dumps(content | {"mpp": plan.mpp, "files": written}, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    return SlideMap(slide.id, counts, plan.mpp)


def _store(out: Path, segmenter: Segmenter, plan: Plan, key: str, options: MapOptions) -> ProbabilityStore | None:
    """Where probabilities go, None if nobody wants them."""
    if not options.probabilities:
        return None
    return ProbabilityStore(out / f"{plan.slide}.probabilities.zarr", plan, segmenter.card.taxonomy, key)


def _work(  # what is computed by what, and where it goes
    segmenter: Segmenter,
    slide: Slide,
    plan: Plan,
    tissue: TissueMask,
    folder: ChunkFolder,
    store: ProbabilityStore | None,
    progress: Progress,
) -> list[Done]:
    """All chunks, those that are missing computed."""
    chunks = list(plan.chunks())
    classes = len(segmenter.card.taxonomy)
    finished = []
    for i, chunk in enumerate(chunks):
        found = folder.find(chunk)
        if found is None:
            labels = np.full((chunk.box.height, chunk.box.width), IGNORE, dtype=np.uint8)
            if tissue.any(plan.level0(chunk.box)):
                scores = chunk_scores(segmenter.model, segmenter.backbone, slide, plan, tissue, chunk)
                paint(scores, plan, tissue, chunk.box, labels)
                if store is not None:
                    store.put(chunk, scores, tissue)
            found = folder.put(chunk, labels, classes)
        finished.append(found)
        progress.step(f"predict {slide.id}", i + 1, len(chunks))
    return finished


def paint(scores: ChunkScores, plan: Plan, tissue: TissueMask, box: Box, labels: NDArray[np.uint8]) -> None:
    """Fill labels uint8 [box.height, box.width] of a box of the map: the best class on tissue, else IGNORE."""
    for block in blocks(box):
        area = plan.level0(block)
        if tissue.any(area):
            best = scores.best(block)
            inside = tissue.read(area, (block.width, block.height))
            y, x = block.y - box.y, block.x - box.x
            labels[y : y + block.height, x : x + block.width] = np.where(inside, best, IGNORE)


def _key(segmenter: Segmenter, slide: Slide, plan: Plan, tissue: TissueMask, options: MapOptions) -> str:
    """Hex SHA-256 of everything that decides the files."""
    mask = hashlib.sha256(np.packbits(tissue.mask).tobytes()).hexdigest()
    facts: list[Any] = [__version__, segmenter.fingerprint, slide.fingerprint, slide.mpp, asdict(plan), mask]
    facts += [tissue.mask.shape, options.probabilities]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _finished(facts: Path, key: str, out: Path) -> dict[str, Any] | None:
    """What was written about a slide whose files are all there, None otherwise."""
    try:
        found: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = found.get("key") == key and all((out / name).exists() for name in found["files"])
    return found if whole else None


def _write(
    slide: Slide, plan: Plan, pyramid: LabelPyramid, taxonomy: Taxonomy, out: Path, key: str, progress: Progress
) -> list[str]:
    """Write the files of a slide from its labels; returns their names."""
    names = [f"{slide.id}.overlay.png"]
    write_png(out / names[0], _overlay(slide, pyramid, taxonomy))
    if isinstance(slide, ImageSlide):
        names.append(f"{slide.id}.mask.png")
        labels = nearest(pyramid.labels(0), Box(0, 0, *plan.size), slide.size)
        write_palette_png(out / names[-1], labels, taxonomy)
    else:
        names += [f"{slide.id}.labels.ome.tif", f"{slide.id}.labels.tif"]
        write_ome_tiff(out / names[-2], pyramid, plan.mpp, slide.id, key)
        write_plain_tiff(out / names[-1], pyramid, plan.mpp, display_palette(taxonomy))
    level = pyramid.level_within(min(TRACED, int(plan.size[0] * plan.size[1] / (plan.cell / 4) ** 2) + 1))
    # A level is the map halved so often, whatever the rounding of its size.
    scale = plan.scale * 2**level
    try:
        features = polygon_features(pyramid.labels(level), taxonomy, (scale, scale), mpp=slide.mpp)
    except MissingExtraError as error:
        if not isinstance(slide, ImageSlide):
            raise
        progress.say(f"{slide.id}: no polygons; {error}")
        return names
    names.append(f"{slide.id}.geojson")
    write_text_atomic(out / names[-1], geojson(features))
    return names


def _overlay(slide: Slide, pyramid: LabelPyramid, taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """A small picture of the slide tinted by class, RGB uint8 [h, w, 3]."""
    picture, _ = thumbnail(slide, finest=0.0)
    height, width = picture.shape[:2]
    level = max(i for i, size in enumerate(pyramid.sizes) if i == 0 or (size[0] >= width and size[1] >= height))
    labels = pyramid.labels(level)
    full = Box(0, 0, labels.shape[1], labels.shape[0])
    return overlay(picture, nearest(labels, full, (width, height)), taxonomy, 0.45)
