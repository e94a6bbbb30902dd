"""Names of images: a slide by its id, a part of it as ``SLIDE-patch-X_Y_WIDTH_HEIGHT`` like QuPath's extension."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from aczerots.errors import InputError, NotFoundError
from aczerots.slides.base import Box, Slide, Tile

_PATCH = re.compile(r"(?P<slide>.+)-patch-(?P<x>-?\d{1,9})_(?P<y>-?\d{1,9})_(?P<w>\d{1,9})_(?P<h>\d{1,9})", re.DOTALL)


@dataclass(frozen=True)
class Image:
    """A slide, or the part of it in ``patch`` (level-0 pixels, inside the slide)."""

    slide: Slide
    patch: Box | None

    @property
    def box(self) -> Box:
        """The part of the slide, all of it if no part is named."""
        return self.patch or Box(0, 0, *self.slide.size)


def patch_name(tile: Tile) -> str:
    """Name of the image of a tile."""
    b = tile.box
    return f"{tile.slide}-patch-{b.x}_{b.y}_{b.width}_{b.height}"


def find_image(slides: Sequence[Slide], name: str) -> Image:
    """The image of a name. QuPath may leave ``.ome`` at the end, and encode spaces as in an address.

    Raises:
        NotFoundError: No slide of that name, or the part lies outside of it.
    """
    known = {slide.id: slide for slide in slides}
    for candidate in (name, unquote(name)):
        slide = _slide(known, candidate)
        if slide is not None:
            return Image(slide, None)
        match = _PATCH.fullmatch(candidate)
        slide = None if match is None else _slide(known, match["slide"])
        if match is not None and slide is not None:
            corner = int(match["x"]), int(match["y"])
            return Image(slide, inside(slide, corner, (int(match["w"]), int(match["h"]))))
    raise NotFoundError(f"there is no image {name[:200]!r}", fix="Images enter by: aczerots import")


def _slide(known: dict[str, Slide], name: str) -> Slide | None:
    return known.get(name) or known.get(name.removesuffix(".ome"))


def inside(slide: Slide, corner: tuple[int, int], size: tuple[int, int]) -> Box:
    """The part of a box that lies on the slide; (0, 0) as size is all of the slide.

    Raises:
        InputError: Nothing of it does.
    """
    if size == (0, 0):
        return Box(0, 0, *slide.size)
    ends = [min(c + s, limit) for c, s, limit in zip(corner, size, slide.size, strict=True)]
    x, y = (max(0, c) for c in corner)
    if ends[0] <= x or ends[1] <= y:
        raise InputError("the region lies outside of the slide", where=slide.id)
    return Box(x, y, ends[0] - x, ends[1] - y)
