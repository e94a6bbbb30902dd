"""Which parts of a slide get a class: all of it, its tissue as it is found, or what a user has marked."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import InputError, SettingsError
from aczerots.slides.base import Slide
from aczerots.slides.image import ImageSlide, open_image
from aczerots.slides.tissue import TissueMask, everything, find_tissue
from aczerots.taxonomy import Taxonomy

AUTO, EVERYWHERE = "auto", "everywhere"

_KEPT = 64

_GLASS = {"background", "backgrounds", "bg", "glass", "blank", "blanks", "empty", "white", "whitespace", "slide"}
_GLASS |= {"hintergrund", "glas", "leer", "fond", "vide", "fondo", "vidrio", "sfondo", "vetro", "achtergrond"}
_BESIDE = {"space", "area", "areas", "region", "regions", "outside", "void", "or", "and", "the", "of", "a", "other"}
_NO_TISSUE = re.compile(r"(no|non|not|without|outside)[\W_]*(of[\W_]*)?(the[\W_]*)?tissue|tissue[\W_]*free", re.I)


def background_class(taxonomy: Taxonomy) -> int | None:
    """Label id of the class for empty glass by its name, None if there is none.

    ``background``, ``white background``, ``glass or empty``, ``no tissue`` are such names; ``background liver``,
    ``white matter`` and ``stroma and background`` are tissue.
    """
    for label, name in enumerate(taxonomy.names):
        words = set(re.findall(r"[^\W\d_]+", name.lower()))
        if _NO_TISSUE.fullmatch(name.strip()) or (words & _GLASS and words <= _GLASS | _BESIDE):
            return label
    return None


def named_rule(setting: str, base: Path | None = None) -> str:
    """The setting of a :class:`TissueRule` that holds wherever it is read: folders absolute, from ``base`` or here."""
    whole = (base or Path()) / Path(setting).expanduser()
    return setting if setting in {AUTO, EVERYWHERE} else str(whole.absolute())


class TissueRule:
    """Says of each slide what gets a class; may be used by several threads.

    With ``auto``, glass gets none: the tissue that is found decides. Plain images are labelled everywhere if a class
    is the background, since people who draw it want it labelled.

    Args:
        taxonomy: The classes.
        setting: ``auto``, ``everywhere``, or a folder with masks named as the slides (``NAME.png``): 0 is glass,
            everything else tissue. Slides without a mask there are as with ``auto``.
        base: Folder that the setting is relative to.

    Raises:
        SettingsError: The setting is no folder.
    """

    def __init__(self, taxonomy: Taxonomy, setting: str = AUTO, base: Path | None = None) -> None:
        self._glass = background_class(taxonomy)
        self._setting = setting
        self._folder = None if setting in {AUTO, EVERYWHERE} else Path(named_rule(setting, base))
        if self._folder is not None and not self._folder.is_dir():
            fix = f"Use {AUTO}, {EVERYWHERE} or a folder of masks (NAME.png, 0 is glass)"
            raise SettingsError("there is no such folder", where=self._folder, fix=fix)
        self._lock, self._masks = Lock(), dict[str, TissueMask]()

    def mask(self, slide: Slide) -> TissueMask:
        """What of a slide gets a class; kept for the slides that were asked for last.

        Raises:
            InputError: The slide or its mask cannot be read.
        """
        name = f"{slide.id} {slide.fingerprint}"
        with self._lock:
            found = self._masks.pop(name, None) or self.find(slide)
            self._masks[name] = found
            if len(self._masks) > _KEPT:
                del self._masks[next(iter(self._masks))]
            return found

    def key(self, slide: Slide) -> str:
        """Changes when the mask may be another one."""
        path = self._drawn(slide)
        if path is not None:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        return EVERYWHERE if self._whole(slide) else "found 2"

    def find(self, slide: Slide) -> TissueMask:
        """As :meth:`mask`, for a slide that will not be asked for again."""
        path = self._drawn(slide)
        if path is not None:
            return read_mask(path, slide)
        return everything(slide) if self._whole(slide) else find_tissue(slide)

    def _drawn(self, slide: Slide) -> Path | None:
        """The user's mask of a slide."""
        path = None if self._folder is None else self._folder / f"{slide.id}.png"
        return path if path is not None and path.is_file() else None

    def _whole(self, slide: Slide) -> bool:
        return self._setting == EVERYWHERE or (self._glass is not None and isinstance(slide, ImageSlide))


def read_mask(path: Path, slide: Slide) -> TissueMask:
    """A mask that a user has made, of any size and the proportions of the slide: 0 is glass, everything else tissue.

    Raises:
        InputError: It cannot be read, or has other proportions.
    """
    with open_image(path) as image:
        values = np.asarray(image if len(image.getbands()) == 1 else image.convert("RGB"))
    mask: NDArray[np.bool_] = (values.reshape(*values.shape[:2], -1) != 0).max(axis=2)
    (height, width), (wide, high) = mask.shape, slide.size
    # A pixel more or less of a small mask is no other proportion.
    if abs(width * high - height * wide) > max(wide, high) * 1.5:
        fix = "Save it at the size of the slide, or smaller by the same factor on both sides"
        raise InputError(f"the mask is {width} x {height}, its slide {wide} x {high}", where=path, fix=fix)
    return TissueMask(mask, slide.size)
