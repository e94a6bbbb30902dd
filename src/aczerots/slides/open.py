"""Opens any file that holds a slide."""

from __future__ import annotations

from pathlib import Path

from aczerots.errors import InputError
from aczerots.slides.base import Slide
from aczerots.slides.files import MPP_RANGE, NoResolutionError, is_cut_off, look_at
from aczerots.slides.image import MAX_PIXELS, ImageSlide, open_image
from aczerots.slides.pixels import PixelCache
from aczerots.slides.tiff import TiffSlide, open_tiff, stated_mpp
from aczerots.slides.whole import DAMAGED, WholeSlide, vendor

SLIDE_SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".svslide", ".bif", ".dcm")
"""File name endings that only whole slides have, lower case."""

_TILE_WIDTH, _SUB_IFDS, _DESCRIPTION = 322, 330, 270


def open_slide(
    path: Path, mpp: float | None = None, *, id: str | None = None, cache: PixelCache | None = None
) -> Slide:
    """Any file as a slide: whole slides, OME-TIFF, and plain PNG, JPEG or TIFF images.

    The resolution is what the file states, else ``mpp``; it is never guessed. A whole slide must have one, a plain
    image may have none. What PNG and JPEG files state is not reliable and is not used.

    Args:
        path: The file; of slides that are folders (MRXS, DICOM) one of their files.
        mpp: Micrometres per level-0 pixel of a file that states none.
        id: Name within the dataset, None takes the stem of the file name.
        cache: Holds the decoded pixels of plain images.

    Returns:
        An ``ImageSlide`` for plain images up to 178 megapixels, otherwise a slide that is read in parts.

    Raises:
        InputError: Missing, empty, damaged, its content is not what its name says, or a whole slide without
            resolution.
        MissingExtraError: OpenSlide or tifffile is not installed.
    """
    path = Path(path)
    if mpp is not None and not MPP_RANGE[0] <= mpp <= MPP_RANGE[1]:
        fix = f"Use {MPP_RANGE[0]:g} to {MPP_RANGE[1]:g} micrometres per pixel"
        raise InputError(f"{mpp:g} micrometres per pixel are no resolution of a slide", where="--mpp", fix=fix)
    name = id or path.stem
    kind = look_at(path)
    slide: Slide
    if kind == "tiff" and _is_plain(path):
        return ImageSlide(path, name, _plain_mpp(path) or mpp, cache=cache)
    if kind == "tiff":
        slide = _tiled(path, name, mpp)
    elif kind == "dicom" or path.suffix.lower() in SLIDE_SUFFIXES:
        if vendor(path) is None:
            content = "its content is unknown" if kind == "other" else f"its content is {kind.upper()}"
            what = f"is named {path.suffix} and is no such slide ({content})"
            raise InputError(what, where=path, fix="Rename it after its content, or copy the slide again")
        slide = WholeSlide(path, name, mpp)
    else:
        return ImageSlide(path, name, mpp, cache=cache)
    if slide.mpp is None:
        fix = "Give it with --mpp, in a project with --slide-mpp (micrometres per pixel of the full resolution)"
        raise NoResolutionError("the slide states no resolution", where=path, fix=fix)
    return slide


def _tiled(path: Path, name: str, mpp: float | None) -> Slide:
    """A TIFF that is read in parts: OME-TIFF by tifffile, which knows its levels, others by OpenSlide if it can."""
    # Offsets in Hamamatsu's files are not those of TIFF; OpenSlide knows them.
    if path.suffix.lower() != ".ndpi" and is_cut_off(path):
        raise InputError("the file cannot be read whole: it is cut off", where=path, fix=DAMAGED)
    with open_tiff(path) as tiff:
        # TiffSlide refuses pixels of more than 8 bits, which OpenSlide would convert silently.
        simple = not tiff.is_ome and tiff.pages[0].dtype == "uint8"
    if simple and vendor(path) is not None:
        return WholeSlide(path, name, mpp)
    return TiffSlide(path, name, mpp)


def _is_plain(path: Path) -> bool:
    """Whether a TIFF is one image without tiles or levels that Pillow reads whole."""
    if path.suffix.lower() in SLIDE_SUFFIXES:
        return False
    try:
        with open_image(path) as image:
            tags = getattr(image, "tag_v2", {})
            text = str(tags.get(_DESCRIPTION, ""))
            known = image.mode in {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"}
            fits = image.width * image.height <= MAX_PIXELS
            return known and fits and not ({_TILE_WIDTH, _SUB_IFDS} & set(tags)) and "<OME" not in text
    except InputError:
        # Too large, or unknown to Pillow: the other readers decide.
        return False


def _plain_mpp(path: Path) -> float | None:
    """What a plain TIFF states; None where tifffile is not there to ask."""
    try:
        import tifffile  # noqa: F401  # only whether it is there
    except ImportError:
        return None
    with open_tiff(path) as tiff:
        return stated_mpp(tiff, path)
