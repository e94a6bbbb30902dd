"""Whole slides through OpenSlide: SVS, NDPI, MRXS, SCN, BIF, DICOM, generic tiled TIFF."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import InputError, extra_needed
from aczerots.slides.base import Box
from aczerots.slides.dicom import series_files
from aczerots.slides.files import fingerprint_files
from aczerots.slides.levels import Level, Patch, make_levels, read_levels
from aczerots.slides.pixels import blend
from aczerots.slides.resolution import settle, stated

if TYPE_CHECKING:
    import openslide

DAMAGED = "Copy the slide again, or leave it out"
CONVERT = "Convert it to a pyramidal TIFF or OME-TIFF of 8-bit RGB, for example with vips or bfconvert"


def vendor(path: Path) -> str | None:
    """Name of the file's format in OpenSlide, None if OpenSlide does not know it.

    Raises:
        MissingExtraError: OpenSlide is not installed.
        InputError: The file is of a known format and damaged.
    """
    with extra_needed("slides", "reading whole slides"):
        import openslide
    try:
        found: str | None = openslide.OpenSlide.detect_format(path)
    except openslide.OpenSlideError as error:
        raise InputError(f"the slide is damaged ({error})", where=path, fix=DAMAGED) from error
    return found


@final
class WholeSlide:
    """A slide that OpenSlide reads; satisfies :class:`~aczerots.slides.base.Slide`.

    Level 0 is the whole scan, even if the file marks a smaller part as the one with tissue. Areas that were not scanned
    have the background colour that the file states, else white. Several threads may read at the same time.

    Args:
        path: The file; of slides that are folders, the index file.
        id: Unique name within the dataset.
        mpp: Micrometres per level-0 pixel; None takes what the file states.

    Attributes:
        stated: What the file states of its resolution.

    Raises:
        InputError: Not a slide, damaged, or of a resolution that cannot be.
        MissingExtraError: OpenSlide is not installed.
    """

    def __init__(self, path: Path, id: str, mpp: float | None = None) -> None:
        vendor(path)
        import openslide

        self.id, self.path = id, Path(path)
        try:
            self._slide: openslide.OpenSlide = openslide.OpenSlide(self.path)
        except (openslide.OpenSlideError, OSError) as error:
            fix = CONVERT if "nsupported" in str(error) else DAMAGED
            raise InputError(f"the slide cannot be opened ({error})", where=path, fix=fix) from error
        properties = self._slide.properties
        pair = [_number(properties.get(name)) for name in ("openslide.mpp-x", "openslide.mpp-y")]
        self.stated = stated(*pair, loose=properties.get("openslide.vendor") == "generic-tiff")
        self.mpp = settle(self.stated, mpp, self.path)
        self._background = _colour(properties.get("openslide.background-color"))
        self.levels: tuple[Level, ...] = make_levels(self._slide.level_dimensions)
        self.size = self.levels[0].size

    @cached_property
    def fingerprint(self) -> str:
        """Hash of samples of all files that make up the slide."""
        return fingerprint_files(_parts(self.path))

    def read(self, box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Pixels of ``box`` resampled to ``size``: RGB uint8 [height, width, 3]."""
        return read_levels(self.levels, self._fetch, box, size)

    def _fetch(self, level: int, box: Box) -> Patch:
        """Pixels of a level; OpenSlide starts only at whole level-0 pixels, hence the shift."""
        import openslide

        ratio = float(self._slide.level_downsamples[level])
        corner = int(box.x * ratio + 1e-6), int(box.y * ratio + 1e-6)
        try:
            image = self._slide.read_region(corner, level, (box.width, box.height))
        except openslide.OpenSlideError as error:
            what = f"level {level} cannot be read at {corner[0]}, {corner[1]} ({error})"
            raise InputError(what, where=self.path, fix=DAMAGED) from error
        pixels = np.asarray(image)
        shift = min(0.0, corner[0] / ratio - box.x), min(0.0, corner[1] / ratio - box.y)
        return Patch(blend(pixels[..., :3], pixels[..., 3:], self._background), shift)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _colour(text: str | None) -> NDArray[np.uint16]:
    """RGB uint16 [3] of six hex digits; white without."""
    value = bytes.fromhex(text) if text is not None and len(text) == 6 else b"\xff\xff\xff"
    return np.frombuffer(value, dtype=np.uint8).astype(np.uint16)


def _parts(path: Path) -> list[Path]:
    """The files that make up a slide: MRXS has a folder beside the file, DICOM the other files of the series."""
    folder = path.with_suffix("")
    if path.suffix.lower() == ".mrxs" and folder.is_dir():
        return [path, *sorted(p for p in folder.iterdir() if p.is_file())]
    return series_files(path)
