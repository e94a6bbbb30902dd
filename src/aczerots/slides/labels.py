"""Truth for slides: mask files with an id per pixel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aczerots.errors import InputError
from aczerots.slides.base import Box, Slide
from aczerots.slides.image import open_image
from aczerots.slides.pixels import PixelCache, nearest
from aczerots.taxonomy import IGNORE, Taxonomy

_CODES = 2**16
_IMAGEJ, _DESCRIPTION, _SUBFILE_TYPE = re.compile(r"ImageJ=.*^images=(\d+)$", re.DOTALL | re.MULTILINE), 270, 254


@final
class MaskFile:
    """A mask image, one code per pixel; satisfies :class:`~aczerots.slides.base.LabelMap`.

    Args:
        path: Grey or palette image, 8 or 16 bit, of the size of the slide.
        slide: The slide it belongs to.
        codes: Code in the file -> taxonomy position or IGNORE. 255 is IGNORE in any case.
        cache: Holds the decoded mask; masks of a dataset share one so that memory stays bounded.
    """

    def __init__(self, path: Path, slide: Slide, codes: Mapping[int, int], *, cache: PixelCache | None = None) -> None:
        self.path = Path(path)
        self._slide = slide
        self._codes = dict(codes) | {IGNORE: IGNORE}
        self._cache = cache or PixelCache()

    def read(self, box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Label ids of ``box`` by nearest neighbour, IGNORE beyond the slide: uint8 [height, width].

        Raises:
            InputError: Unreadable, a colour picture, of another size than the slide, or a code of no class.
        """
        return nearest(self._cache.get(("mask", self.path), self._decode), box, size)

    def _decode(self) -> NDArray[np.uint8]:
        with open_image(self.path) as image:
            if image.size != self._slide.size:
                mask, slide = ("{} x {}".format(*s) for s in (image.size, self._slide.size))
                raise InputError(f"the mask is {mask} but its image is {slide}", where=self.path)
            if len(image.getbands()) != 1 or image.mode == "F":
                fix = "Save one id per pixel as a grey or palette PNG"
                raise InputError(f"the mask is a picture of mode {image.mode}", where=self.path, fix=fix)
            _refuse_lossy(image, self.path)
            _refuse_stack(image, self.path)
            return self._mapped(np.asarray(image).astype(np.int64))

    def _mapped(self, codes: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Taxonomy positions uint8 [h, w] of the codes in the file."""
        table = np.full(_CODES, -1, dtype=np.int16)
        for code, position in self._codes.items():
            table[code] = position
        labels = table[np.clip(codes, 0, _CODES - 1)]
        wrong = (labels < 0) | (codes < 0) | (codes >= _CODES)
        if wrong.any():
            y, x = (int(v) for v in np.argwhere(wrong)[0])
            code = int(codes[y, x])
            count = int((codes == code).sum())
            pixels = "pixel has" if count == 1 else "pixels have"
            what = f"{count} {pixels} the id {code}, which no class has, first at x={x}, y={y}"
            known = ", ".join(str(c) for c in sorted(self._codes))
            raise InputError(what, where=self.path, fix=f"Known ids are {known}")
        return labels.astype(np.uint8)


def _refuse_lossy(image: Image.Image, path: Path) -> None:
    """Refuse a mask in a compression that alters pixels, since each pixel is an id."""
    if image.format in {"JPEG", "MPO"} or "jpeg" in str(image.info.get("compression", "")):
        fix = "Save it as PNG with the program that drew it; a copy of this file as PNG would keep the wrong ids"
        raise InputError("the mask is a JPEG, which alters ids", where=path, fix=fix)


def _refuse_stack(image: Image.Image, path: Path) -> None:
    """Refuse a mask with several pages; smaller copies of the first, as pyramids have them, do not count."""
    # ImageJ writes large stacks with one directory only.
    stated = _IMAGEJ.match(str(getattr(image, "tag_v2", {}).get(_DESCRIPTION, "")))
    pages, (width, height) = int(stated[1]) if stated else 1, image.size
    if pages == 1:
        for i in range(1, getattr(image, "n_frames", 1)):
            image.seek(i)
            w, h = image.size
            is_copy = w < width and abs(w * height - h * width) <= max(width, height)
            # Bit 0 of NewSubfileType marks a smaller copy (TIFF 6.0, section 8).
            pages += not (is_copy or getattr(image, "tag_v2", {}).get(_SUBFILE_TYPE, 0) & 1)
        image.seek(0)
    if pages > 1:
        fix = "Save one page with one id per pixel; of a page per class, the position of the class"
        raise InputError(f"the mask has {pages} pages", where=path, fix=fix)


def absent_classes(counts: NDArray[np.int64], taxonomy: Taxonomy) -> str | None:
    """What to say of classes that have no pixel in any mask, None if all have some.

    Args:
        counts: Pixels by label id in all masks, [256].
        taxonomy: The classes.
    """
    absent = [name for name, count in zip(taxonomy.names, counts.tolist(), strict=False) if not count]
    if not absent:
        return None
    without = 100 * counts[IGNORE] / max(1, counts.sum())
    return f"no mask has a pixel of {', '.join(absent)}; {without:.0f} % of all pixels have no class (255 or void)"
