"""Slides read by tifffile: OME-TIFF with its pyramid, and TIFFs that OpenSlide does not read."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aczerots.errors import InputError, extra_needed
from aczerots.slides.base import Box
from aczerots.slides.files import fingerprint_files
from aczerots.slides.levels import Level, Patch, make_levels, read_levels
from aczerots.slides.pixels import blend
from aczerots.slides.resolution import settle
from aczerots.slides.scan import scan_of, stated_by
from aczerots.slides.whole import CONVERT, DAMAGED

_COLOURS = {"RGB": 3, "YCBCR": 3, "SEPARATED": 4, "MINISBLACK": 1, "MINISWHITE": 1, "PALETTE": 1}
"""Samples of colour per pixel by how a TIFF stores it."""

_RAW = ("NONE", "LZW", "ADOBE_DEFLATE", "DEFLATE", "PACKBITS", "ZSTD", "LZMA")
"""Compressions whose decoders leave YCbCr as it is."""

_PREMULTIPLIED = 1
_WHITE = np.array([255, 255, 255], dtype=np.uint16)
_ERRORS = (OSError, ValueError, RuntimeError, TypeError, IndexError, KeyError, EOFError, AttributeError)
"""What tifffile and its codecs raise on damaged files."""


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turn what tifffile raises inside the block into an InputError."""
    try:
        yield
    except _ERRORS as error:
        raise InputError(f"the TIFF cannot be read ({error})", where=path, fix=DAMAGED) from error


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


@final
class TiffSlide:
    """A slide that tifffile reads; satisfies :class:`~aczerots.slides.base.Slide`.

    The scan (:func:`~aczerots.slides.scan.scan_of`) with all its levels: 8-bit RGB, CMYK or grey, interleaved or in
    planes; transparency becomes white, the colour of empty glass. Tiles and strips are decoded at every read and not
    kept.

    Args:
        path: The file.
        id: Unique name within the dataset.
        mpp: Micrometres per level-0 pixel; None takes what the file states.

    Attributes:
        stated: What the file states of its resolution.

    Raises:
        InputError: Damaged, of other pixels, not clear which picture is the scan, or of a resolution that cannot be.
        MissingExtraError: tifffile is not installed.
    """

    def __init__(self, path: Path, id: str, mpp: float | None = None) -> None:
        self.id, self.path = id, Path(path)
        tiff = open_tiff(self.path)
        self._close = weakref.finalize(self, tiff.close)
        with understood(self.path):
            scan = scan_of(tiff, self.path)
            self.stated = stated_by(tiff, scan)
            self._planes = [_Plane(level) for level in scan.levels]
        for plane in self._planes:
            if plane.problem:
                raise InputError(plane.problem, where=path, fix=CONVERT)
        self.mpp = settle(self.stated, mpp, self.path)
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
        page = self._page = self._pages[0].keyframe
        self.size = int(page.imagewidth), int(page.imagelength)
        self._ink = page.photometric.name
        self.problem = _problem(page, len(self._pages))

    def read(self, box: Box) -> NDArray[np.uint8]:
        """RGB uint8 [box.height, box.width, 3] of a box inside the level."""
        samples = np.concatenate([self._samples(page, box) for page in self._pages], axis=2)
        count = _colours(self._page, len(self._pages))
        pixels, more = samples[..., :count], samples[..., count:]
        if self._ink == "MINISWHITE":
            pixels = 255 - pixels
        elif self._ink == "PALETTE":
            # Some programs write 8-bit colours here, too.
            shift = 8 if self._page.colormap.max() > 255 else 0
            pixels = (self._page.colormap[:, pixels[..., 0]].transpose(1, 2, 0) >> shift).astype(np.uint8)
        elif self._ink == "SEPARATED":
            inks = Image.frombytes("CMYK", (box.width, box.height), pixels.tobytes())
            pixels = np.asarray(inks.convert("RGB"))
        pixels = pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)
        alpha = _alpha(self._page, count)
        if alpha:
            return blend(pixels, more[..., :1], _WHITE, premultiplied=alpha == _PREMULTIPLIED)
        if more.shape[2]:
            # Of unknown meaning: opacity at least where all is 0, as in what was not scanned.
            pixels[~(pixels.any(axis=2) | more.any(axis=2))] = 255
        return pixels

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
        decoded, _, _ = self._page.decode(data, index, jpegtables=page.jpegtables, jpegheader=self._page.jpegheader)
        if decoded is None:
            raise ValueError(f"segment {index} is missing")
        pixels: NDArray[np.uint8] = decoded[0]
        return pixels


def _problem(page: Any, pages: int) -> str | None:
    """Why a page, one of several that make up a picture, cannot be read; None if it can."""
    import tifffile

    ink, samples = page.photometric.name, page.samplesperpixel * pages
    if page.dtype != np.uint8 or page.bitspersample != 8:
        return f"the pixels are {page.dtype if page.dtype != np.uint8 else f'of {page.bitspersample} bits'}, not 8-bit"
    if ink not in _COLOURS or (ink == "YCBCR" and page.compression.name in _RAW):
        return f"the pixels are stored as {ink} ({page.compression.name}), not as RGB"
    count = _colours(page, pages)
    if not 0 <= samples - count <= 1 or (samples == 2 and not _alpha(page, count)):
        return f"the file has {samples} samples per pixel, not RGB"
    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
    except KeyError as error:
        return f"the compression {page.compression.name} cannot be read ({error.args[0]})"
    return None


def _colours(page: Any, pages: int) -> int:
    """Samples of colour per pixel of a picture on some pages; three in grey are red, green and blue."""
    grey = page.photometric.name in {"MINISBLACK", "MINISWHITE"}
    return 3 if grey and page.samplesperpixel * pages in {3, 4} else _COLOURS[page.photometric.name]


def _alpha(page: Any, colours: int) -> int:
    """What the sample after those of colour is: 1 opacity that colours are multiplied by, 2 other opacity, 0 none."""
    extra = page.extrasamples or ()
    at = colours - (page.samplesperpixel - len(extra))
    return int(extra[at]) if 0 <= at < len(extra) and int(extra[at]) in {1, 2} else 0


def _paste(out: NDArray[np.uint8], box: Box, segment: NDArray[np.uint8], left: int, top: int) -> None:
    """Copy what a segment at (left, top) has of a box."""
    y0, y1 = max(top, box.y), min(top + segment.shape[0], box.y + box.height)
    x0, x1 = max(left, box.x), min(left + segment.shape[1], box.x + box.width)
    out[y0 - box.y : y1 - box.y, x0 - box.x : x1 - box.x] = segment[y0 - top : y1 - top, x0 - left : x1 - left]
