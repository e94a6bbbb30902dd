"""Slides from plain images: PNG, JPEG or TIFF files, and arrays in memory."""

from __future__ import annotations

import hashlib
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from aczerots.errors import InputError
from aczerots.slides.base import Box
from aczerots.slides.colour import in_srgb
from aczerots.slides.pixels import PixelCache, crop_mirrored, resample

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""File name endings that count as images, lower case."""

MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr", "HSV"}
"""Pillow's modes that are shown as 8-bit RGB."""

_COLOUR_MAP = 320
AS_RGB = "Save the image as 8-bit RGB"
MAX_PIXELS = 178_000_000
"""Largest plain image in pixels (534 MB decoded); larger files need a whole-slide reader."""


@contextmanager
def open_image(path: Path, page: int = 0) -> Iterator[Image.Image]:
    """A page of the file as an undecoded Pillow image, as it is stored; what goes wrong inside becomes an InputError.

    Raises:
        InputError: Missing, not readable, broken, truncated, or more than MAX_PIXELS.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of damaged TIFF tags, which do not matter if it can read the pixels, and of more than 89
            # Mpx; section scans are larger and MAX_PIXELS is checked below.
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if page:
                    image.seek(page)
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                _as_stored(image)
                yield image
    except FileNotFoundError:
        raise InputError("the image is missing", where=path) from None
    except PermissionError:
        raise InputError("no permission to read the image", where=path) from None
    except Image.DecompressionBombError:
        what = f"the image has more than {MAX_PIXELS // 10**6} megapixels"
        raise InputError(what, where=path, fix="Cut it into parts") from None
    except UnidentifiedImageError:
        raise InputError("this is no image that can be read", where=path) from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        # Pillow reports broken files in all of these types, SyntaxError for damaged PNG chunks.
        raise InputError(f"the image is broken ({error})", where=path) from None


def orientation(image: Image.Image) -> int:
    """How an image of :func:`open_image` is to be turned for display, 1 to 8 as in EXIF; 1 is not at all."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode all of it to look for more
    try:
        return int(image.info.get("stored_orientation") or image.getexif().get(ExifTags.Base.Orientation, 1))
    except (OSError, ValueError, TypeError, KeyError, SyntaxError, struct.error):
        # Damaged EXIF data, without which the image can be read.
        return 1


def _as_stored(image: Image.Image) -> None:
    """Keep Pillow from turning a TIFF after its orientation tag while it decodes."""
    if isinstance(image, TiffImageFile) and orientation(image) != 1:
        image.info["stored_orientation"] = image.getexif().pop(ExifTags.Base.Orientation)
        if image.info["stored_orientation"] >= 5:
            image._size = image.size[::-1]  # there is no public way


def _unread(image: Image.Image) -> str | None:
    """Why pixels cannot be shown as 8-bit RGB, from the header; None if they can."""
    if image.mode not in MODES:
        return f"pixels of mode {image.mode} are not 8-bit"
    if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        return "a CMYK JPEG that does not say whether its colours are inverted"
    return None


def _repair_palette(image: Image.Image) -> None:
    """Take the colours of a TIFF's palette as they are where they were written with 8 of 16 bits."""
    table = getattr(image, "tag_v2", {}).get(_COLOUR_MAP, ()) if image.mode == "P" else ()
    if table and max(table) < 256:
        count = len(table) // 3
        image.putpalette([table[i + count * channel] for i in range(count) for channel in range(3)])


def _to_rgb(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """Decoded RGB uint8 [h, w, 3] in sRGB; transparency becomes white, the colour of empty glass."""
    deep = any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))
    profile = image.info.get("icc_profile")
    image.load()
    _repair_palette(image)
    if deep:
        # Pillow keeps the upper 8 of 16 bits.
        brightest = int(np.asarray(image.convert("RGB")).max())
        if brightest < 64:
            what = f"the pixels use {8 + brightest.bit_length()} of 16 bits, which would be nearly black"
            raise InputError(what, where=path, fix=AS_RGB)
    if "A" in image.mode or "transparency" in image.info:
        rgba = image.convert("RGBA")
        opaque = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
        return np.array(in_srgb(opaque, profile))
    return np.array(in_srgb(image, profile))


@final
class ImageSlide:
    """A plain image file as a slide; satisfies :class:`~aczerots.slides.base.Slide`.

    Orientation tags are not applied: masks are drawn on the stored pixels.

    Args:
        path: PNG, JPEG or TIFF.
        id: Unique name within the dataset.
        mpp: Micrometres per pixel where known.
        part: Rectangle of the file that is the slide, None for all of it.
        page: Page of a TIFF, from 0.
        cache: Holds the decoded pixels; slides of a dataset share one so that memory stays bounded.

    Attributes:
        turned: Whether a tag asks for the image to be turned for display.

    Raises:
        InputError: The header cannot be read, the pixels are not 8-bit, or the part is not inside the image.
    """

    def __init__(
        self,
        path: Path,
        id: str,
        mpp: float | None = None,
        *,
        part: Box | None = None,
        page: int = 0,
        cache: PixelCache | None = None,
    ) -> None:
        self.id, self.mpp, self.path, self._page = id, mpp, Path(path), page
        self._cache = cache or PixelCache()
        with open_image(self.path, page) as image:
            width, height = image.size
            problem, self.turned = _unread(image), orientation(image) != 1
        if problem:
            raise InputError(problem, where=path, fix=AS_RGB)
        p = self._part = part or Box(0, 0, width, height)
        if p.x < 0 or p.y < 0 or p.x + p.width > width or p.y + p.height > height:
            raise InputError(f"the part {p} is not inside the {width} x {height} image", where=path)
        self.size = p.width, p.height

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the file bytes and the part."""
        try:
            with self.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256")
        except OSError as error:
            raise InputError(f"the image cannot be read ({error.strerror})", where=self.path) from None
        digest.update(repr(self._part).encode())
        return digest.hexdigest()

    def read(self, box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Pixels of ``box`` (in the frame of the part) resampled to ``size``: RGB uint8 [height, width, 3]."""
        p = self._part
        pixels = self._cache.get(("image", self.path), self._decode)
        if p.y + p.height > pixels.shape[0] or p.x + p.width > pixels.shape[1]:
            raise InputError("the image changed while it was in use", where=self.path)
        inside = pixels[p.y : p.y + p.height, p.x : p.x + p.width]
        return resample(crop_mirrored(inside, box), size)

    def _decode(self) -> NDArray[np.uint8]:
        with open_image(self.path, self._page) as image:
            return _to_rgb(image, self.path)


@final
class ArraySlide:
    """Pixels in memory as a slide; satisfies :class:`~aczerots.slides.base.Slide`.

    Args:
        id: Unique name within the dataset.
        pixels: RGB uint8 [height, width, 3].
        mpp: Micrometres per pixel where known.

    Raises:
        InputError: Another shape or dtype.
    """

    def __init__(self, id: str, pixels: NDArray[np.uint8], mpp: float | None = None) -> None:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            what = f"pixels are {pixels.dtype} {list(pixels.shape)}"
            raise InputError(what, where=id, fix="Give RGB uint8 [h, w, 3]")
        self.id, self.mpp = id, mpp
        self.size = pixels.shape[1], pixels.shape[0]
        self._pixels = pixels.copy()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of shape and pixels."""
        digest = hashlib.sha256(repr(self._pixels.shape).encode())
        digest.update(self._pixels.tobytes())
        return digest.hexdigest()

    def read(self, box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Pixels of ``box`` resampled to ``size``: RGB uint8 [height, width, 3]."""
        return resample(crop_mirrored(self._pixels, box), size)
