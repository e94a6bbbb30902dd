"""The frame of other programs: of some slides QuPath shows only the scanned part, and counts from its corner.

Inside of aczerots, level-0 pixels count from the corner of the whole frame, as OpenSlide has them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from aczerots.slides.base import Box, Slide
from aczerots.slides.whole import WholeSlide


@dataclass(frozen=True)
class Frame:
    """The part of a slide that other programs show.

    Attributes:
        box: The part, level-0 pixels of the whole frame.
        whole: Whether it is all of the slide.
    """

    box: Box
    whole: bool

    @property
    def offset(self) -> tuple[int, int]:
        """What to take from (x, y) in level-0 pixels to get those of other programs."""
        return self.box.x, self.box.y

    def outward(self, box: Box) -> Box:
        """A box of level-0 pixels as other programs have it."""
        return Box(box.x - self.box.x, box.y - self.box.y, box.width, box.height)

    def inward(self, box: Box) -> Box:
        """A box of other programs in level-0 pixels."""
        return Box(box.x + self.box.x, box.y + self.box.y, box.width, box.height)

    @property
    def stated(self) -> dict[str, Any]:
        """What a JSON file says of its frame."""
        part = "whole slide" if self.whole else "openslide bounds"
        size = [self.box.width, self.box.height]
        return {"part": part, "offset": list(self.offset), "size": size, "unit": "level-0 pixels"}

    def __str__(self) -> str:
        """What other files say of their frame."""
        if self.whole:
            return "frame: whole slide"
        b = self.box
        return f"frame: openslide bounds, offset {b.x}, {b.y}, size {b.width} x {b.height} level-0 pixels"


def frame_of(slide: Slide) -> Frame:
    """The frame of a slide: its bounds if the file states some, else all of it."""
    if isinstance(slide, ShownSlide):
        return slide.frame
    bounds = slide.bounds if isinstance(slide, WholeSlide) else None
    return Frame(bounds or Box(0, 0, *slide.size), bounds is None)


def as_shown(slide: Slide) -> Slide:
    """The slide as other programs show it; the slide itself if they show all of it."""
    frame = frame_of(slide)
    return slide if frame.whole else ShownSlide(slide, frame)


@final
class ShownSlide:
    """The part of a slide that other programs show; satisfies :class:`~aczerots.slides.base.Slide`.

    Args:
        slide: The whole slide.
        frame: The part.
    """

    def __init__(self, slide: Slide, frame: Frame) -> None:
        self._slide, self.frame = slide, frame
        self.id, self.mpp = slide.id, slide.mpp
        self.size = frame.box.width, frame.box.height

    @property
    def fingerprint(self) -> str:
        """Hash of the slide's own and of the part."""
        return hashlib.sha256(f"{self._slide.fingerprint} {self.frame}".encode()).hexdigest()

    def read(self, box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Pixels of ``box`` resampled to ``size``: RGB uint8 [height, width, 3]; beyond the part the slide goes on.

        Raises:
            InputError: A part of the file is damaged.
        """
        return self._slide.read(self.frame.inward(box), size)
