"""The label pyramid of a slide: read from its chunks, written as OME-TIFF and as a plain pyramidal TIFF."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.qupath_classes import xml_text
from aczerots.errors import StorageError, extra_needed
from aczerots.predict.chunks import FinishedChunk, Place, decode, encode, halved
from aczerots.slides.windows import TIFF_TILE
from aczerots.storage.files import atomic_write
from aczerots.taxonomy import IGNORE

_SMALLEST = TIFF_TILE
"""Pyramids end when the longest side is not above this."""


class LabelPyramid:
    """Encoded tiles of a label map, each level half the one before.

    Tiles of the coarsest levels, which no chunk holds whole, are made when they are asked for and kept encoded.

    Args:
        size: (width, height) of the map.
        chunks: All its chunks.
    """

    def __init__(self, size: tuple[int, int], chunks: Sequence[FinishedChunk]) -> None:
        self._where: dict[Place, FinishedChunk] = {place: done for done in chunks for place in done.tiles}
        self._made: dict[Place, bytes] = {}
        self.sizes = [size]
        while max(self.sizes[-1]) > _SMALLEST:
            self.sizes.append((-(-self.sizes[-1][0] // 2), -(-self.sizes[-1][1] // 2)))

    def encoded(self, level: int) -> Iterator[bytes]:
        """Encoded tiles of a level in reading order."""
        down, across = self._grid(level)
        for row in range(down):
            for column in range(across):
                yield self._tile((level, row, column))

    def labels(self, level: int) -> NDArray[np.uint8]:
        """Label ids uint8 [h, w] of a whole level."""
        width, height = self.sizes[level]
        down, across = self._grid(level)
        out = np.empty((down * TIFF_TILE, across * TIFF_TILE), dtype=np.uint8)
        for row in range(down):
            for column in range(across):
                y, x = row * TIFF_TILE, column * TIFF_TILE
                out[y : y + TIFF_TILE, x : x + TIFF_TILE] = decode(self._tile((level, row, column)))
        return out[:height, :width]

    def level_within(self, pixels: int) -> int:
        """The finest level of at most so many pixels; the coarsest if none has."""
        fit = [i for i, (w, h) in enumerate(self.sizes) if w * h <= pixels]
        return fit[0] if fit else len(self.sizes) - 1

    def _grid(self, level: int) -> tuple[int, int]:
        width, height = self.sizes[level]
        return -(-height // TIFF_TILE), -(-width // TIFF_TILE)

    def _tile(self, place: Place) -> bytes:
        if place in self._where:
            return self._where[place].tile(place)
        if place not in self._made:
            self._made[place] = encode(self._from_finer(*place))
        return self._made[place]

    def _from_finer(self, level: int, row: int, column: int) -> NDArray[np.uint8]:
        """A tile from the four of the level below it."""
        down, across = self._grid(level - 1)
        width, height = self.sizes[level - 1]
        y, x = 2 * row * TIFF_TILE, 2 * column * TIFF_TILE
        both = np.full((2 * TIFF_TILE, 2 * TIFF_TILE), IGNORE, dtype=np.uint8)
        for i in (0, 1):
            for j in (0, 1):
                if 2 * row + i < down and 2 * column + j < across:
                    part = decode(self._tile((level - 1, 2 * row + i, 2 * column + j)))
                    both[i * TIFF_TILE : (i + 1) * TIFF_TILE, j * TIFF_TILE : (j + 1) * TIFF_TILE] = part
        # What lies beyond the map must not outvote its last row and column.
        return halved(both[: height - y, : width - x])


def _writer(path: Path, **options: Any) -> Any:
    with extra_needed("slides", "writing label pyramids"):
        import tifffile
    return tifffile.TiffWriter(path, **options)


def _layout(pyramid: LabelPyramid) -> bool:
    """Whether the file may pass 4 GB and needs BigTIFF."""
    return sum(w * h for w, h in pyramid.sizes) > 2**31


def write_ome_tiff(path: Path, pyramid: LabelPyramid, mpp: float | None, name: str, key: str) -> None:
    """The pyramid as OME-TIFF, levels in sub-directories: grey values are label ids, 255 is no tissue.

    Args:
        path: The file.
        pyramid: The labels.
        mpp: Micrometres per pixel of the map.
        name: Name of the image in the file.
        key: Names the content; equal keys give equal bytes.

    Raises:
        StorageError: It cannot be written.
    """
    facts: dict[str, Any] = {"axes": "YX", "Name": xml_text(name), "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, key))}
    facts["Creator"] = "aczerots"
    if mpp is not None:
        facts |= {f"PhysicalSize{a}": mpp for a in "XY"} | {f"PhysicalSize{a}Unit": "µm" for a in "XY"}
    with atomic_write(path) as temporary:
        try:
            with _writer(temporary, ome=True, bigtiff=_layout(pyramid)) as file:
                for level in range(len(pyramid.sizes)):
                    first = {"subifds": len(pyramid.sizes) - 1, "metadata": facts, "resolution": _resolution(mpp)}
                    file.write(
                        pyramid.encoded(level),
                        **_options(pyramid.sizes[level]),
                        **(first if level == 0 else {"subfiletype": 1, "metadata": None}),
                        photometric="minisblack",
                    )
        except ValueError as error:
            raise StorageError(f"cannot be written ({error})", where=path) from error


def write_plain_tiff(path: Path, pyramid: LabelPyramid, mpp: float | None, palette: NDArray[np.uint8]) -> None:
    """The pyramid as a plain tiled TIFF, a directory per level: palette indices are label ids.

    Viewers show it in the colours of the classes; OpenSlide opens it as a generic tiled TIFF.

    Args:
        path: The file.
        pyramid: The labels.
        mpp: Micrometres per pixel of the map, stored as resolution tags.
        palette: RGB uint8 [256, 3].

    Raises:
        StorageError: It cannot be written.
    """
    colours = (palette.astype(np.uint16) * 257).T
    with atomic_write(path) as temporary:
        try:
            with _writer(temporary, bigtiff=_layout(pyramid)) as file:
                for level, size in enumerate(pyramid.sizes):
                    file.write(
                        pyramid.encoded(level),
                        **_options(size),
                        subfiletype=1 if level else 0,
                        resolution=_resolution(None if mpp is None else mpp * 2**level),
                        metadata=None,
                        photometric="palette",
                        colormap=colours,
                    )
        except ValueError as error:
            raise StorageError(f"cannot be written ({error})", where=path) from error


def _options(size: tuple[int, int]) -> dict[str, Any]:
    return {
        "shape": (size[1], size[0]),
        "dtype": np.uint8,
        "tile": (TIFF_TILE, TIFF_TILE),
        "compression": "zlib",
        "resolutionunit": "CENTIMETER",
        "software": "aczerots",
    }


def _resolution(mpp: float | None) -> tuple[float, float]:
    """Pixels per centimetre; 1 stands for not known, as TIFF needs some number."""
    value = 1.0 if mpp is None or not math.isfinite(mpp) else 10000.0 / mpp
    return value, value
