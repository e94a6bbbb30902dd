"""Opens any file that holds a slide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aczerots.errors import InputError
from aczerots.slides.base import Slide
from aczerots.slides.files import NoResolutionError, is_cut_off, look_at
from aczerots.slides.image import MAX_PIXELS, MODES, ImageSlide, open_image
from aczerots.slides.pixels import PixelCache
from aczerots.slides.resolution import WAY_OUT, Stated, check_given, overruled, settle
from aczerots.slides.scan import scan_of, stated_by
from aczerots.slides.tiff import TiffSlide, open_tiff, understood
from aczerots.slides.whole import DAMAGED, WholeSlide, vendor

SLIDE_SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".svslide", ".bif", ".dcm")
"""File name endings that only whole slides have, lower case."""

_TILE_WIDTH, _SUB_IFDS, _DESCRIPTION, _PHOTOMETRIC, _SAMPLES = 322, 330, 270, 262, 277
_OPENSLIDE_CODECS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946, 50000)
"""Compressions of TIFF that OpenSlide's libtiff decodes; tifffile knows more."""

_GREY = (0, 1)
"""Photometric interpretations of grey, either way round."""


def open_slide(
    path: Path,
    mpp: float | None = None,
    *,
    id: str | None = None,
    cache: PixelCache | None = None,
    tell: Callable[[str], None] | None = None,
) -> Slide:
    """Any file as a slide: whole slides, OME-TIFF, and plain PNG, JPEG or TIFF images.

    The resolution is ``mpp``, else what the file states; it is never guessed. A whole slide must have one, a plain
    image may have none. What PNG and JPEG files state is not reliable and is not used.

    Args:
        path: The file; of slides that are folders (MRXS, DICOM) one of their files.
        mpp: Micrometres per level-0 pixel; holds against what the file states.
        id: Name within the dataset, None takes the stem of the file name.
        cache: Holds the decoded pixels of plain images.
        tell: Receives what the user should know: that ``mpp`` holds against the file, that it is to be turned.

    Returns:
        An ``ImageSlide`` for plain images up to 178 megapixels, otherwise a slide that is read in parts.

    Raises:
        InputError: Missing, empty, damaged, its content is not what its name says, it is not clear which picture in it
            is the scan, or a whole slide without a plausible resolution.
        MissingExtraError: OpenSlide or tifffile is not installed.
    """
    if mpp is not None:
        check_given(mpp)
    return read_slide(path, mpp, id=id, cache=cache, tell=tell)


def read_slide(
    path: Path,
    mpp: float | None,
    *,
    id: str | None = None,
    cache: PixelCache | None = None,
    tell: Callable[[str], None] | None = None,
) -> Slide:
    """:func:`open_slide` with a resolution that was checked when the slide was imported."""
    path, tell = Path(path), tell or (lambda _: None)
    name = id or path.stem
    kind = look_at(path)
    if kind == "tiff":
        page = _plain_page(path)
        if page is not None:
            return _plain(path, name, mpp, cache, tell, page, _plain_stated(path))
        slide = _tiled(path, name, mpp)
    elif kind == "dicom" or path.suffix.lower() in SLIDE_SUFFIXES:
        if vendor(path) is None:
            content = "its content is unknown" if kind == "other" else f"its content is {kind.upper()}"
            what = f"is named {path.suffix} and is no such slide ({content})"
            raise InputError(what, where=path, fix="Rename it after its content, or copy the slide again")
        slide = WholeSlide(path, name, mpp)
    else:
        return _plain(path, name, mpp, cache, tell)
    if slide.mpp is None:
        raise NoResolutionError("the slide states no resolution", where=path, fix=WAY_OUT)
    _tell(overruled(slide.stated, mpp, path), tell)
    return slide


def briefly(notes: Sequence[str], most: int = 3) -> list[str]:
    """The first notes and how many more there are, for the notes of many files."""
    more = len(notes) - most
    return [*notes[:most], f"... and {more} more of this kind"] if more > 0 else list(notes)


def _tell(note: str | None, tell: Callable[[str], None]) -> None:
    if note:
        tell(note)


def _plain(
    path: Path,
    name: str,
    mpp: float | None,
    cache: PixelCache | None,
    tell: Callable[[str], None],
    page: int = 0,
    found: Stated | None = None,
) -> ImageSlide:
    """A plain image; what it states of its resolution counts only if it is plausible."""
    if found is not None and found.implausible and mpp is None:
        if not found.loose:
            tell(f"{path}: {found.implausible}; taken as none")
        found = None
    slide = ImageSlide(path, name, settle(found, mpp, path), page=page, cache=cache)
    if found is not None and not (found.loose and found.implausible):
        _tell(overruled(found, mpp, path), tell)
    if slide.turned:
        tell(f"{path}: is marked to be turned for display; coordinates and masks are those of the stored pixels")
    return slide


def _tiled(path: Path, name: str, mpp: float | None) -> WholeSlide | TiffSlide:
    """A TIFF that is read in parts: OME-TIFF by tifffile, which knows its levels, others by OpenSlide if it can."""
    # Offsets in Hamamatsu's files are not those of TIFF; OpenSlide knows them.
    if path.suffix.lower() != ".ndpi" and is_cut_off(path):
        raise InputError("the file cannot be read whole: it is cut off", where=path, fix=DAMAGED)
    with open_tiff(path) as tiff, understood(path):
        # TiffSlide refuses pixels of more than 8 bits, which OpenSlide would convert silently.
        simple = not tiff.is_ome and tiff.pages[0].dtype == "uint8" and tiff.pages[0].bitspersample == 8
        maker = vendor(path) if simple else None
        ours = maker is None or (maker == "generic-tiff" and not _suits_openslide(tiff, path))
    return TiffSlide(path, name, mpp) if ours else WholeSlide(path, name, mpp)


def _suits_openslide(tiff: Any, path: Path) -> bool:
    """Whether OpenSlide reads the scan of a TIFF that no scanner wrote: it takes the first picture, whatever it is."""
    first = tiff.pages[0]
    grey = _colours_in_grey({_PHOTOMETRIC: first.photometric, _SAMPLES: first.samplesperpixel})
    return first.compression in _OPENSLIDE_CODECS and not grey and _page_of(scan_of(tiff, path)) == 0


def _colours_in_grey(tags: Mapping[int, Any]) -> bool:
    """Whether a TIFF calls three or more samples per pixel grey; only TiffSlide reads all of them."""
    return tags.get(_PHOTOMETRIC) in _GREY and int(tags.get(_SAMPLES, 1)) > 2


def _page_of(scan: Any) -> int | None:
    """Number of the page that a series is, None if it has several or is no page of its own."""
    pages = list(scan.pages)
    index = pages[0].index
    return index if len(pages) == 1 and isinstance(index, int) else None


def _plain_page(path: Path) -> int | None:
    """Page of a TIFF that is the scan and that Pillow reads whole; None if the file is for another reader."""
    if path.suffix.lower() in SLIDE_SUFFIXES:
        return None
    try:
        with open_image(path) as image:
            tags = getattr(image, "tag_v2", {})
            text = str(tags.get(_DESCRIPTION, ""))
            plain = image.mode in MODES and not ({_TILE_WIDTH, _SUB_IFDS} & set(tags))
            if not plain or "<OME" in text or _colours_in_grey(tags) or image.info.get("compression") == "webp":
                return None
            # ImageJ and tifffile may keep a stack in one page.
            stack = ("images=" in text or '"shape"' in text) and find_spec("tifffile") is not None
            if getattr(image, "n_frames", 1) == 1 and not stack:
                return 0
    except InputError:
        # Too large, or unknown to Pillow: the other readers decide.
        return None
    with open_tiff(path) as tiff, understood(path):
        scan = scan_of(tiff, path)
        page, frame = _page_of(scan), scan.keyframe
        fits = frame.imagewidth * frame.imagelength <= MAX_PIXELS and not frame.is_tiled and not frame.subifds
    return page if fits else None


def _plain_stated(path: Path) -> Stated | None:
    """What a plain TIFF states; None where tifffile is not there to ask, or does not understand it."""
    if find_spec("tifffile") is None:
        return None
    try:
        with open_tiff(path) as tiff, understood(path):
            return stated_by(tiff, scan_of(tiff, path))
    except InputError:
        return None
