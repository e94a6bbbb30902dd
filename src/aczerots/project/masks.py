"""Label images of what is drawn: palette PNG and OME-TIFF out, anything with an id per pixel in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.masks import decode_mask
from aczerots.annotation.store.records import AnswerKind, NewAnswer
from aczerots.errors import InputError, MissingExtraError
from aczerots.project.folder import Project
from aczerots.project.slides import slide_name
from aczerots.report.images import write_palette_png
from aczerots.slides.base import Box, Slide, Tile
from aczerots.slides.image import MAX_PIXELS
from aczerots.slides.labels import MaskFile
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
        InputError: A slide is too large for a PNG.
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
    for name, parts in drawn.items():
        labels = join_tiles(project.slides[name], parts)
        path = out / f"{name}.{'png' if form == 'png' else 'ome.tif'}"
        if form == "png":
            write_palette_png(path, labels, project.taxonomy)
        else:
            _write_ome(path, labels, parts[0][0].mpp)
        written.append(path)
    return written


def join_tiles(slide: Slide, parts: Sequence[tuple[Tile, NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Masks of tiles in one label image of the slide, uint8 [h, w], at the resolution of the tiles.

    Raises:
        InputError: The image would be too large.
    """
    first = parts[0][0]
    step = first.window.width / first.size
    width, height = (max(1, round(n / step)) for n in slide.size)
    if width * height > MAX_PIXELS:
        fix = "Use --format qupath"
        raise InputError(f"a label image of {width} x {height} pixels is too large", where=slide.id, fix=fix)
    labels = np.full((height, width), IGNORE, dtype=np.uint8)
    x = (np.arange(width) + 0.5) * step
    y = (np.arange(height) + 0.5) * step
    for tile, mask in parts:
        b = tile.box
        columns = slice(*np.searchsorted(x, (b.x, b.x + b.width)).tolist())
        rows = slice(*np.searchsorted(y, (b.y, b.y + b.height)).tolist())
        inside_x = np.clip(((x[columns] - tile.window.x) / step).astype(int), 0, tile.size - 1)
        inside_y = np.clip(((y[rows] - tile.window.y) / step).astype(int), 0, tile.size - 1)
        labels[rows, columns] = mask[np.ix_(inside_y, inside_x)]
    return labels


def _write_ome(path: Path, labels: NDArray[np.uint8], mpp: float | None) -> None:
    try:
        import tifffile
    except ModuleNotFoundError as error:
        raise MissingExtraError("project", "writing OME-TIFF") from error
    sizes = {} if mpp is None else {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
    metadata = {"axes": "YX", "Name": path.name.removesuffix(".ome.tif"), **sizes}
    with atomic_write(path) as temporary:
        tifffile.imwrite(temporary, labels, ome=True, compression="zlib", tile=(256, 256), metadata=metadata)


def import_masks(project: Project, files: Sequence[Path], author: str) -> int:
    """Take existing label images as drawings of all tiles that they say something about.

    Label ids are the positions of the classes; 255 says nothing. All files are read before anything is kept.
    Importing the same masks again changes nothing.

    Args:
        project: The project.
        files: Masks, named as their slides.
        author: Who drew them.

    Returns:
        Tiles with a new answer.

    Raises:
        InputError: No slide of that name, another size, or an id that no class has.
    """
    newest = project.store.rounds.newest()
    if newest is None:
        raise InputError("has no round 0", where=project.folder, fix="Run: aczerots select")
    tiles = project.store.rounds.tiles()
    found: list[tuple[int, NDArray[np.uint8]]] = []
    for path in files:
        name = slide_name(path)
        if name not in project.slides:
            known = ", ".join(list(project.slides)[:5])
            raise InputError(f"there is no slide '{name}'", where=path, fix=f"Slides are {known}, ...")
        slide = project.slides[name]
        truth = MaskFile(path, slide, {i: i for i in range(len(project.taxonomy))})
        truth.read(Box(0, 0, *slide.size), slide.size)
        found += [(i, _cut(truth, t)) for i, t in enumerate(tiles) if t.slide == name]
    histories = project.store.answers.histories(position for position, _ in found)
    new = []
    for position, mask in found:
        before = next((a for a in reversed(histories.get(position, [])) if a.reading == 0), None)
        same = before is not None and before.mask is not None and np.array_equal(decode_mask(before.mask), mask)
        if not same and (mask != IGNORE).any():
            version = 0 if before is None else before.version
            new.append(NewAnswer(position, newest.number, author, "import", AnswerKind.DRAWN, version, mask))
    return len(project.store.answers.add_all(new))


def _cut(truth: MaskFile, tile: Tile) -> NDArray[np.uint8]:
    """Label ids uint8 [size, size] of a tile, IGNORE outside its box."""
    labels = truth.read(tile.window, (tile.size, tile.size))
    out = np.full_like(labels, IGNORE)
    out[tile.inner] = labels[tile.inner]
    return out
