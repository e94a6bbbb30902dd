"""Label images of what is drawn: palette PNG and OME-TIFF out, any image with an id per pixel in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.masks import decode_mask, only_inside, paste_tile
from aczerots.annotation.formats.qupath_classes import xml_text
from aczerots.annotation.store.records import AnswerKind, NewAnswer
from aczerots.engine.progress import Progress
from aczerots.errors import InputError, extra_needed
from aczerots.project.folder import Project
from aczerots.report.images import write_palette_png
from aczerots.slides.base import Box, Slide, Tile
from aczerots.slides.image import MAX_PIXELS
from aczerots.slides.labels import MaskFile, absent_classes
from aczerots.storage.files import atomic_write, make_folder
from aczerots.taxonomy import IGNORE


def export_masks(project: Project, out: Path, form: str) -> list[Path]:
    """Write a label image per slide with drawings, IGNORE where nothing is drawn.

    The image has the resolution that tiles are read at: level 0, unless the project has an ``mpp``.

    Args:
        project: The project.
        out: Folder.
        form: ``png`` for ``<slide>.png`` with the colours of the classes, ``ome-tiff`` for ``<slide>.ome.tif``.

    Returns:
        The files.

    Raises:
        InputError: A slide is too large for one image.
        StorageError: A file cannot be written.
    """
    tiles = project.store.rounds.tiles()
    drawn: dict[str, list[tuple[Tile, NDArray[np.uint8]]]] = {}
    for answer in project.store.answers.counting():
        if answer.mask is not None:
            tile = tiles[answer.tile]
            drawn.setdefault(tile.slide, []).append((tile, decode_mask(answer.mask)))
    make_folder(out)
    written = []
    for name, masks in drawn.items():
        labels = _join(project.slides[name], masks)
        path = out / f"{name}.{'png' if form == 'png' else 'ome.tif'}"
        if form == "png":
            write_palette_png(path, labels, project.taxonomy)
        else:
            _write_ome(path, labels, masks[0][0].mpp)
        written.append(path)
    return written


def _join(slide: Slide, masks: Sequence[tuple[Tile, NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Masks of tiles in one label image of the slide, uint8 [h, w], at the resolution of the tiles."""
    tile = masks[0][0]
    step = tile.window.width / tile.size
    width, height = (max(1, round(n / step)) for n in slide.size)
    if width * height > MAX_PIXELS:
        fix = "Use --format qupath"
        raise InputError(f"a label image of {width} x {height} pixels is too large", where=slide.id, fix=fix)
    labels = np.full((height, width), IGNORE, dtype=np.uint8)
    for tile, mask in masks:
        paste_tile(labels, (0, 0), step, tile, mask)
    return labels


def _write_ome(path: Path, labels: NDArray[np.uint8], mpp: float | None) -> None:
    with extra_needed("project", "writing OME-TIFF"):
        import tifffile
    sizes = {} if mpp is None else {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
    metadata = {"axes": "YX", "Name": xml_text(path.name.removesuffix(".ome.tif")), **sizes}
    with atomic_write(path) as temporary:
        tifffile.imwrite(temporary, labels, ome=True, compression="zlib", tile=(256, 256), metadata=metadata)


def import_masks(project: Project, files: Sequence[Path], author: str, progress: Progress | None = None) -> int:
    """Take existing label images as drawings of all tiles that they say something about.

    Label ids are the positions of the classes; 255 says nothing. All files are read before anything is kept.
    Importing the same masks again changes nothing.

    Args:
        project: The project.
        files: Masks, named as their slides.
        author: Who drew them.
        progress: Is told which classes have no pixel.

    Returns:
        Tiles with a new answer.

    Raises:
        InputError: No slide of that name, another size, or an id that no class has.
    """
    newest = project.store.rounds.newest()
    if newest is None:
        raise InputError("has no round 0", where=project.folder, fix="Run: aczerots select")
    tiles = project.store.rounds.tiles()
    masks: dict[int, NDArray[np.uint8]] = {}
    counts = np.zeros(256, dtype=np.int64)
    for path in files:
        slide = project.slides[project.slide_of(path)]
        truth = MaskFile(path, slide, {i: i for i in range(len(project.taxonomy))})
        counts += np.bincount(truth.read(Box(0, 0, *slide.size), slide.size).ravel(), minlength=256)
        for position, tile in enumerate(tiles):
            if tile.slide == slide.id:
                masks[position] = only_inside(truth.read(tile.window, (tile.size, tile.size)), tile)
    absent = absent_classes(counts, project.taxonomy) if files else None
    if absent is not None and progress is not None:
        progress.say(absent)
    histories = project.store.answers.histories(masks)
    new = []
    for position, mask in masks.items():
        before = next((a for a in reversed(histories.get(position, [])) if a.reading == 0), None)
        same = before is not None and before.mask is not None and np.array_equal(decode_mask(before.mask), mask)
        if not same and (mask != IGNORE).any():
            version = 0 if before is None else before.version
            new.append(NewAnswer(position, newest.number, author, "import", AnswerKind.DRAWN, version, mask))
    return len(project.store.answers.add_all(new))
