"""Slides read by tifffile: OME-TIFF with its pyramid, and TIFFs that OpenSlide does not read."""

from __future__ import annotations

import re
import weakref
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import InputError, extra_needed
from aczerots.slides.base import Box
from aczerots.slides.files import checked_mpp, fingerprint_files
from aczerots.slides.levels import Level, Patch, make_levels, read_levels
from aczerots.slides.whole import DAMAGED

_UNITS = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "micron": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
_ERRORS = (OSError, ValueError, RuntimeError, TypeError, IndexError, KeyError, EOFError, AttributeError)
"""What tifffile and its codecs raise on damaged files."""


def open_tiff(path: Path) -> Any:
    """The file as a ``tifffile.TiffFile``.

    Raises:
        MissingExtraError: tifffile is not installed.
        InputError: Not a TIFF, or damaged.
    """
    with extra_needed("slides", "reading this TIFF"):
        import tifffile
    try:
        return tifffile.TiffFile(path)
    except _ERRORS as error:
        raise InputError(f"the TIFF cannot be opened ({error})", where=path, fix=DAMAGED) from error


def stated_mpp(tiff: Any, path: Path) -> float | None:
    """Micrometres per pixel that a TIFF states: in its OME description, for ImageJ, or in its resolution tags.

    Raises:
        InputError: Its pixels are not square.
    """
    if tiff.ome_metadata:
        found = [_ome_size(tiff.ome_metadata, axis) for axis in "XY"]
        return checked_mpp(found[0], found[1], path)
    tags = tiff.pages[0].tags
    unit = str((tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
    inch_or_cm = {2: 25400.0, 3: 10000.0}.get(int(tags.valueof("ResolutionUnit", default=1)))
    per_unit = _UNITS.get(unit) or inch_or_cm
    if per_unit is None:
        return None
    pair = [tags.valueof(name, default=(0, 1)) for name in ("XResolution", "YResolution")]
    x, y = (per_unit * below / above if above else None for above, below in pair)
    return checked_mpp(x, y, path)


def _ome_size(text: str, axis: str) -> float | None:
    """PhysicalSizeX or Y of the first image in an OME description, micrometres."""
    pixels = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", text)
    if pixels is None:
        return None
    size = re.search(rf'PhysicalSize{axis}="([^"]+)"', pixels[0])
    unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', pixels[0])
    factor = _UNITS.get(unit[1] if unit else "µm")
    try:
        return None if size is None or factor is None else float(size[1]) * factor
    except ValueError:
        return None


@final
class TiffSlide:
    """A slide that tifffile reads; satisfies :class:`~aczerots.slides.base.Slide`.

    The first image of the file with all its levels: 8-bit RGB, interleaved or in planes, or 8-bit grey. Tiles and
    strips are decoded at every read and not kept.

    Args:
        path: The file.
        id: Unique name within the dataset.
        mpp: Micrometres per level-0 pixel for a file that states none; otherwise the file's own holds.

    Raises:
        InputError: Damaged, of other than 8-bit RGB or grey pixels, or with pixels that are not square.
        MissingExtraError: tifffile is not installed.
    """

    def __init__(self, path: Path, id: str, mpp: float | None = None) -> None:
        self.id, self.path = id, Path(path)
        tiff = open_tiff(self.path)
        self._close = weakref.finalize(self, tiff.close)
        try:
            self.mpp = stated_mpp(tiff, self.path) or mpp
            self._planes = [_Plane(level) for level in tiff.series[0].levels]
        except _ERRORS as error:
            raise InputError(f"the TIFF cannot be read ({error})", where=path, fix=DAMAGED) from error
        for plane in self._planes:
            if plane.problem:
                raise InputError(plane.problem, where=path, fix="Convert it to 8-bit RGB")
        self.levels: tuple[Level, ...] = make_levels([p.size for p in self._planes])
        self.size = self.levels[0].size

    @cached_property
    def fingerprint(self) -> str:
        """Hash of samples of the file."""
        return fingerprint_files([self.path])

    def read(self, box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Pixels of ``box`` resampled to ``size``: RGB uint8 [height, width, 3]."""
        return read_levels(self.levels, self._fetch, box, size)

    def _fetch(self, level: int, box: Box) -> Patch:
        try:
            return Patch(self._planes[level].read(box))
        except _ERRORS as error:
            what = f"level {level} cannot be read at {box.x}, {box.y} ({error})"
            raise InputError(what, where=self.path, fix=DAMAGED) from error


class _Plane:
    """One level of a TIFF series, read by segments (tiles or strips)."""

    def __init__(self, level: Any) -> None:
        self._pages = list(level.pages)
        page = self._pages[0].keyframe
        self._page = page
        self.size = int(page.imagewidth), int(page.imagelength)
        self.problem = self._check(level)

    def _check(self, level: Any) -> str | None:
        """Why it cannot be used, None if it can."""
        samples = int(np.prod([n for n, a in zip(level.shape, level.axes, strict=True) if a not in "YX"]))
        if self._page.dtype != np.uint8:
            return f"the pixels are {self._page.dtype}, not 8-bit"
        if samples not in {1, 3, 4}:
            return f"the file has {samples} channels or planes ({level.axes}), not RGB"
        return None

    def read(self, box: Box) -> NDArray[np.uint8]:
        """RGB uint8 [box.height, box.width, 3] of a box inside the level."""
        parts = [self._samples(page, box) for page in self._pages]
        pixels = np.concatenate(parts, axis=2)[..., :3]
        if self._page.photometric.name == "MINISWHITE":
            pixels = 255 - pixels
        if self._page.photometric.name == "PALETTE":
            pixels = (self._page.colormap[:, pixels[..., 0]].transpose(1, 2, 0) >> 8).astype(np.uint8)
        return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)

    def _samples(self, page: Any, box: Box) -> NDArray[np.uint8]:
        """Samples uint8 [h, w, S] of one page, from all segments that meet the box."""
        frame = self._page
        width, height = (
            (frame.tilewidth, frame.tilelength) if frame.is_tiled else (frame.imagewidth, frame.rowsperstrip)
        )
        across, down = -(-frame.imagewidth // width), -(-frame.imagelength // height)
        planes = frame.samplesperpixel if frame.planarconfig == 2 else 1
        depth = 1 if planes > 1 else frame.samplesperpixel
        out = np.zeros((box.height, box.width, planes * depth), dtype=np.uint8)
        for plane in range(planes):
            for row in range(box.y // height, -(-(box.y + box.height) // height)):
                for column in range(box.x // width, -(-(box.x + box.width) // width)):
                    segment = self._segment(page, (plane * down + row) * across + column)
                    _paste(out[..., plane * depth : (plane + 1) * depth], box, segment, column * width, row * height)
        return out

    def _segment(self, page: Any, index: int) -> NDArray[np.uint8]:
        """Decoded uint8 [h, w, S] of a tile or strip.

        Raises:
            ValueError: It is shorter than the file says.
        """
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        file = page.parent.filehandle
        with file.lock:
            file.seek(offset)
            data = file.read(count)
        if count == 0 or len(data) < count:
            raise ValueError(f"segment {index} is missing or cut off")
        decoded, _, _ = self._page.decode(data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
        if decoded is None:
            raise ValueError(f"segment {index} is missing")
        pixels: NDArray[np.uint8] = decoded[0]
        return pixels


def _paste(out: NDArray[np.uint8], box: Box, segment: NDArray[np.uint8], left: int, top: int) -> None:
    """Copy what a segment at (left, top) has of a box."""
    y0, y1 = max(top, box.y), min(top + segment.shape[0], box.y + box.height)
    x0, x1 = max(left, box.x), min(left + segment.shape[1], box.x + box.width)
    out[y0 - box.y : y1 - box.y, x0 - box.x : x1 - box.x] = segment[y0 - top : y1 - top, x0 - left : x1 - left]
