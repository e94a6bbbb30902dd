"""Truth for slides: mask files with an id per pixel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import InputError
from aczerots.slides.base import Box, Slide
from aczerots.slides.frame import frame_of
from aczerots.slides.image import open_image
from aczerots.slides.pixels import PixelCache, nearest
from aczerots.taxonomy import IGNORE

_CODES = 2**16


@final
class MaskFile:
    """A mask image, one code per pixel; satisfies :class:`~aczerots.slides.base.LabelMap`.

    Args:
        path: Grey or palette image, 8 or 16 bit, of the size of the slide, or of the part that other programs show.
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
        mask = self._cache.get(("mask", self.path), self._decode)
        whole = mask.shape[::-1] == tuple(self._slide.size)
        return nearest(mask, box if whole else frame_of(self._slide).outward(box), size)

    def _decode(self) -> NDArray[np.uint8]:
        with open_image(self.path) as image:
            shown = frame_of(self._slide).box
            if image.size not in {self._slide.size, (shown.width, shown.height)}:
                mask, slide = ("{} x {}".format(*s) for s in (image.size, self._slide.size))
                raise InputError(f"the mask is {mask} but its image is {slide}", where=self.path)
            if len(image.getbands()) != 1 or image.mode == "F":
                raise InputError(
                    f"the mask is a picture of mode {image.mode}",
                    where=self.path,
                    fix="Save one id per pixel as a grey or palette PNG",
                )
            codes = np.asarray(image).astype(np.int64)
        return self._mapped(codes)

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
            known = ", ".join(str(c) for c in sorted(self._codes))
            pixels = "pixel has" if count == 1 else "pixels have"
            raise InputError(
                f"{count} {pixels} the id {code}, which no class has, first at x={x}, y={y}",
                where=self.path,
                fix=f"Known ids are {known}",
            )
        return labels.astype(np.uint8)
