"""Slides from plain images: PNG, JPEG or TIFF files, and arrays in memory."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from aczerots.errors import InputError
from aczerots.slides.base import Box
from aczerots.slides.pixels import PixelCache, crop_mirrored, resample

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""File name endings that count as images, lower case."""

MAX_PIXELS = 178_000_000
"""Largest plain image in pixels (534 MB decoded); larger files need a whole-slide reader."""


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """The file as an undecoded Pillow image; everything that goes wrong inside becomes an InputError.

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
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
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


def _to_rgb(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """Decoded RGB uint8 [h, w, 3]; transparency becomes white, the colour of empty glass."""
    if image.mode[0] in "IF":
        raise InputError(f"pixels of mode {image.mode} are not 8-bit", where=path, fix="Save the image as 8-bit RGB")
    if "A" in image.mode or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return np.array(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"))
    return np.array(image.convert("RGB"))


@final
class ImageSlide:
    """A plain image file as a slide; satisfies :class:`~aczerots.slides.base.Slide`.

    Orientation tags are not applied: masks are drawn on the stored pixels.

    Args:
        path: PNG, JPEG or TIFF (first page).
        id: Unique name within the dataset.
        mpp: Micrometres per pixel where known.
        part: Rectangle of the file that is the slide, None for all of it.
        cache: Holds the decoded pixels; slides of a dataset share one so that memory stays bounded.

    Raises:
        InputError: The header cannot be read, or the part is not inside the image.
    """

    def __init__(
        self,
        path: Path,
        id: str,
        mpp: float | None = None,
        *,
        part: Box | None = None,
        cache: PixelCache | None = None,
    ) -> None:
        self.id, self.mpp, self.path = id, mpp, Path(path)
        self._cache = cache or PixelCache()
        with open_image(self.path) as image:
            width, height = image.size
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
        with open_image(self.path) as image:
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
