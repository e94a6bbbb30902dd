"""What a slide and a tile are. All coordinates are level-0 pixels, origin top left, x to the right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """A rectangle in level-0 pixels: left and top edge, width and height > 0. It may reach beyond the slide."""

    x: int
    y: int
    width: int
    height: int

    @property
    def area(self) -> int:
        """Width times height in level-0 pixels."""
        return self.width * self.height


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """The unit of selection: a part of a slide that an expert may be asked to draw.

    The tiles of a slide partition it: every pixel lies in the ``box`` of exactly one tile. The backbone sees the
    ``window``, a square that contains the box and adds context. So no pixel is drawn or counted twice, and no tile is a
    narrow strip, where the side of a slide is no multiple of the tile size.

    Attributes:
        slide: Id of the slide.
        box: What is drawn and counted, level-0 pixels, inside the slide.
        window: What is read, level-0 pixels; a square, beyond the slide only where the slide is smaller.
        size: Side in pixels of the image that the window is read as.
        mpp: Micrometres per pixel of that image, None where the slide states none.
    """

    slide: str
    box: Box
    window: Box
    size: int
    mpp: float | None = None

    @property
    def id(self) -> str:
        """``slide@x,y,width,height`` of the box: unique within a dataset, stable across runs."""
        b = self.box
        return f"{self.slide}@{b.x},{b.y},{b.width},{b.height}"

    @property
    def inner(self) -> tuple[slice, slice]:
        """(rows, columns) of the box inside the image that the window is read as."""
        scale = self.size / self.window.width
        top, left = self.box.y - self.window.y, self.box.x - self.window.x
        rows = slice(round(top * scale), round((top + self.box.height) * scale))
        return rows, slice(round(left * scale), round((left + self.box.width) * scale))


@runtime_checkable
class Slide(Protocol):
    """Anything with pixels, from a PNG crop to a gigapixel file."""

    @property
    def id(self) -> str:
        """Unique name within the dataset."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in level-0 pixels."""

    @property
    def mpp(self) -> float | None:
        """Micrometres per level-0 pixel, None where the file states none."""

    @property
    def fingerprint(self) -> str:
        """Hash that changes when the pixels may have changed; part of every cache key."""

    def read(self, box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Pixels of ``box`` resampled to ``size``.

        Args:
            box: Level-0 pixels; what lies beyond the slide is filled by mirroring the slide at its edge.
            size: (width, height) of the result in pixels.

        Returns:
            RGB uint8 [height, width, 3].

        Raises:
            InputError: The file cannot be read or decoded.
        """


@runtime_checkable
class LabelMap(Protocol):
    """Truth for a slide, in the frame of its level-0 pixels."""

    def read(self, box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Label ids of ``box`` by nearest neighbour.

        Args:
            box: Level-0 pixels; what lies beyond the slide is IGNORE.
            size: (width, height) of the result in pixels.

        Returns:
            Label ids uint8 [height, width], taxonomy positions or IGNORE.

        Raises:
            InputError: Unreadable, of another size than the slide, or an id outside the taxonomy.
        """
