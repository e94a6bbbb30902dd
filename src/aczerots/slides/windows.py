"""Overlapping windows over a slide whose feature cells line up, and the chunks in which a slide is computed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from aczerots.errors import InputError
from aczerots.slides.base import Box, Slide, Tile

TIFF_TILE = 512
"""Side in pixels of a tile of the files that are written; the side of a chunk is a multiple of it."""

OVERLAP = 0.25
"""Fraction of its side that a window has in common with the next one."""


@dataclass(frozen=True)
class Chunk:
    """A part of the map, the unit of work; its box is in map pixels."""

    row: int
    column: int
    box: Box

    @property
    def name(self) -> str:
        """Stable within a plan, sorts in reading order."""
        return f"{self.row:04d}-{self.column:04d}"


@dataclass(frozen=True)
class Line:
    """Windows along one axis; cell 0 is the first feature cell of the first window.

    Attributes:
        origin: Where cell 0 begins, map pixels; negative where windows reach beyond the slide.
        count: Number of windows.
        step: Cells from one window to the next.
    """

    origin: float
    count: int
    step: int


@dataclass(frozen=True)
class WindowPlan:
    """How a slide is read and what its map looks like.

    The *map* is the slide at the resolution that the model reads: map pixel p covers level-0 pixels
    ``scale * p`` .. ``scale * (p + 1)``.

    Attributes:
        slide: Id of the slide.
        size: (width, height) of the map in its pixels.
        scale: Level-0 pixels per map pixel.
        mpp: Micrometres per map pixel, None where the slide states none.
        tile: Side of a window in map pixels.
        cells: Feature cells of a window along each axis.
        lines: Windows along x and y.
        chunk: Side of a chunk in map pixels, a multiple of :data:`TIFF_TILE`.
        rim: Cells that are read around a window as context and then dropped. With a rim, windows overlap only as far
            as interpolation between cell centres needs.
    """

    slide: str
    size: tuple[int, int]
    scale: float
    mpp: float | None
    tile: int
    cells: int
    lines: tuple[Line, Line]
    chunk: int
    rim: int = 0

    @property
    def cell(self) -> float:
        """Map pixels per cell."""
        return self.tile / self.cells

    def refined(self, factor: int, chunk: int) -> WindowPlan:
        """The same windows in other chunks, for a model that gives ``factor`` times as many cells along each axis."""
        x, y = (replace(line, step=line.step * factor) for line in self.lines)
        return replace(self, cells=self.cells * factor, lines=(x, y), rim=self.rim * factor, chunk=chunk)

    def window(self, column: int, row: int) -> Tile:
        """The window of a column and row; its box is the window itself, without the rim."""
        # Whole numbers first, so that the windows of a refined plan are the same to the last digit.
        corner = [
            line.origin + i * line.step * self.tile / self.cells
            for line, i in zip(self.lines, (column, row), strict=True)
        ]

        def square(margin: float) -> Box:
            side = round((self.tile + 2 * margin) * self.scale)
            x, y = (round((c - margin) * self.scale) for c in corner)
            return Box(x, y, side, side)

        rim = self.rim * self.tile / self.cells
        return Tile(self.slide, square(0.0), square(rim), round(self.tile + 2 * rim), self.mpp)

    def covering(self, axis: int, start: int, extent: int) -> range:
        """Windows along an axis (0 is x) that decide ``extent`` map pixels from ``start``."""
        if not self.rim:
            first, stop = self.needed(axis, start, extent)
            return self.meeting(axis, first, stop)
        # The overlap serves interpolation only; the window in whose middle part a pixel lies decides it.
        line = self.lines[axis]
        step = line.step * self.cell
        inner = line.origin + (self.tile - step) / 2
        first, last = (math.floor((p - inner) / step) for p in (start + 0.5, start + extent - 0.5))
        return range(min(max(0, first), line.count - 1), min(last, line.count - 1) + 1)

    def meeting(self, axis: int, start: int, stop: int) -> range:
        """Windows along an axis (0 is x) that have any of the cells ``start`` .. ``stop``."""
        line = self.lines[axis]
        first = max(0, (start - self.cells) // line.step + 1)
        last = min(line.count, -(-stop // line.step))
        return range(first, max(first, last))

    def needed(self, axis: int, start: int, extent: int) -> tuple[int, int]:
        """Cells between whose centres the centres of ``extent`` map pixels from ``start`` lie, half-open."""
        line = self.lines[axis]
        first = math.floor((start + 0.5 - line.origin) / self.cell - 0.5)
        last = math.floor((start + extent - 0.5 - line.origin) / self.cell - 0.5) + 2
        return max(0, first), min((line.count - 1) * line.step + self.cells, last)

    def chunks(self) -> Iterator[Chunk]:
        """All chunks in reading order."""
        width, height = self.size
        for row, y in enumerate(range(0, height, self.chunk)):
            for column, x in enumerate(range(0, width, self.chunk)):
                box = Box(x, y, min(self.chunk, width - x), min(self.chunk, height - y))
                yield Chunk(row, column, box)

    def level0(self, box: Box) -> Box:
        """Level-0 pixels that a box of the map covers."""
        x, y = round(box.x * self.scale), round(box.y * self.scale)
        right, bottom = round((box.x + box.width) * self.scale), round((box.y + box.height) * self.scale)
        return Box(x, y, max(1, right - x), max(1, bottom - y))

    def map_box(self, box: Box) -> Box:
        """The box of the map, at least one pixel, that comes closest to a box in level-0 pixels inside the slide."""
        width, height = (max(1, round(n / self.scale)) for n in (box.width, box.height))
        x, y = round(box.x / self.scale), round(box.y / self.scale)
        return Box(min(x, self.size[0] - 1), min(y, self.size[1] - 1), width, height)


def plan_windows(  # noqa: PLR0913  # one per fact that decides a plan
    slide: Slide,
    tile: int,
    cells: int,
    mpp: float | None,
    *,
    chunk: int,
    overlap: float = OVERLAP,
    shift: tuple[int, int] = (0, 0),
    rim: int = 0,
) -> WindowPlan:
    """Windows that cover a slide.

    The fewest windows with at least that overlap, which are spread evenly. They reach beyond the slide, where it is
    mirrored, by a few cells at most, unless it is smaller than a window or they have a rim.

    Args:
        slide: The slide.
        tile: Side of a window as the backbone sees it, pixels.
        cells: Cells that the model gives for a window along each axis.
        mpp: Micrometres per pixel to read at; None reads level-0 pixels as they are.
        chunk: Side of a chunk in map pixels, a multiple of :data:`TIFF_TILE`.
        overlap: Fraction of its side that a window has in common with the next at least, 0 to below 1.
        shift: Map pixels (x, y) >= 0 by which all windows are moved left and up, to measure how much it matters.
        rim: Cells that are read around a window and dropped.

    Raises:
        InputError: ``mpp`` asked of a slide that states none.
    """
    if mpp is not None and slide.mpp is None:
        fix = "Give its micrometres per pixel with --mpp"
        raise InputError("the slide states no resolution and the model needs one", where=slide.id, fix=fix)
    scale = 1.0 if mpp is None or slide.mpp is None else mpp / slide.mpp
    width, height = (max(1, round(s / scale)) for s in slide.size)
    step = max(1, round(cells * (1 - overlap)))
    cell = tile / cells
    line = _line if rim == 0 else _aligned
    x, y = (line(n, tile, cells, step, cell, moved) for n, moved in zip((width, height), shift, strict=True))
    own = None if slide.mpp is None else slide.mpp * scale
    return WindowPlan(slide.id, (width, height), scale, own, tile, cells, (x, y), chunk, rim)


def _line(length: int, tile: int, cells: int, step: int, cell: float, moved: int) -> Line:
    """Windows along an axis of ``length`` map pixels."""
    count = max(0, math.ceil((length - tile) / (step * cell) - 1e-9)) + 1
    if count > 1:
        step = math.ceil((length - tile) / ((count - 1) * cell) - 1e-9)
    spare = ((count - 1) * step + cells) * cell - length
    # Whole cells before the slide, so that a slide of the size of a tile has the same cells as that tile.
    before = math.floor(spare / cell / 2) * cell
    more = math.ceil(max(0.0, moved - (spare - before)) / (step * cell))
    return Line(-before - moved, count + more, step)


def _aligned(length: int, tile: int, cells: int, step: int, cell: float, moved: int) -> Line:
    """Windows with a rim along an axis: their middle parts begin at 0, so that chunks end where middle parts end."""
    before = (cells - step) // 2 * cell + moved
    count = max(0, math.ceil((length + before - tile) / (step * cell) - 1e-9)) + 1
    return Line(-before, count, step)
