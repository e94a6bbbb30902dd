"""Micrometres per pixel (mpp): what a file states, what the user says, and which of them holds."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from aczerots.errors import InputError

MPP_RANGE = (0.05, 20.0)
"""Plausible micrometres per pixel of a slide; the 600 dots per inch of a print are 42, the 72 of a screen 353."""

WAY_OUT = (
    "Give the micrometres per pixel of its full resolution: --mpp, in a project --slide-mpp, in a dataset mpp in "
    "dataset.yaml"
)

_TOLERANCE = 1.02
_FINEST_PRINT = 4800
"""Dots per inch up to which a round number is taken for a printer's or flatbed scanner's."""

_UNITS = {
    "\u00c5": 1e-4,
    "\u00e5ngstr\u00f6m": 1e-4,
    "angstrom": 1e-4,
    "pm": 1e-6,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "\u03bcm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "thou": 25.4,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "in": 25400.0,
    "inch": 25400.0,
    "m": 1e6,
}
"""Micrometres per unit; names as Unicode's NFKC leaves them, with the Greek mu."""


@dataclass(frozen=True)
class Stated:
    """What a file states, right or wrong.

    Attributes:
        x: Micrometres per level-0 pixel along x, finite, > 0.
        y: The same along y.
        loose: Whether it comes from TIFF's resolution tags, which many programs fill with a print's dots per inch.
    """

    x: float
    y: float
    loose: bool = False

    def __str__(self) -> str:
        """``0.25``, or ``0.25 x 0.5`` where the axes differ."""
        same = max(self.x, self.y) / min(self.x, self.y) <= _TOLERANCE
        return f"{self.x:g}" if same else f"{self.x:g} x {self.y:g}"

    @property
    def mean(self) -> float:
        """Geometric mean of both axes."""
        return float((self.x * self.y) ** 0.5)

    @property
    def implausible(self) -> str | None:
        """Why it is not the resolution of a slide, None if it may be."""
        dots = 25400 / self.x
        text = (
            f"{self} micrometres per pixel ({dots:.4g} dots per inch)"
            if self.loose
            else f"{self} micrometres per pixel"
        )
        if not all(MPP_RANGE[0] <= v <= MPP_RANGE[1] for v in (self.x, self.y)):
            return f"states no resolution that a slide can have: {text}"
        if self.loose and dots <= _FINEST_PRINT * 1.001 and any(_is_multiple(dots, step) for step in (72, 100)):
            return f"states no resolution of a microscope: {text}, which are for printing"
        return None


def _is_multiple(value: float, step: int) -> bool:
    """Whether a value is a whole multiple of a step, up to the rounding of files."""
    return abs(value / step - round(value / step)) * step < 2e-4 * value


def stated(x: float | None, y: float | None, *, loose: bool = False) -> Stated | None:
    """What a file states; None where an axis is missing, zero or no number."""
    if x is None or y is None or not (isfinite(x) and isfinite(y) and x > 0 and y > 0):
        return None
    return Stated(x, y, loose)


def check_given(mpp: float) -> None:
    """Refuse a resolution from the user that no slide can have.

    Raises:
        InputError: It is outside :data:`MPP_RANGE`.
    """
    if not MPP_RANGE[0] <= mpp <= MPP_RANGE[1]:
        fix = f"Use {MPP_RANGE[0]:g} to {MPP_RANGE[1]:g} (--mpp, --slide-mpp, or mpp in dataset.yaml)"
        raise InputError(f"{mpp:g} micrometres per pixel are no resolution of a slide", fix=fix)


def settle(found: Stated | None, given: float | None, path: Path) -> float | None:
    """The resolution of a slide: the user's word, else what its file states.

    Args:
        found: What the file states.
        given: What the user says.
        path: The file, for errors.

    Returns:
        Micrometres per level-0 pixel; None where neither says anything.

    Raises:
        InputError: Only the file says something, and it is implausible or its pixels are not square (2 %).
    """
    if given is not None or found is None:
        return given
    if found.implausible:
        raise InputError(found.implausible, where=path, fix=WAY_OUT)
    if max(found.x, found.y) / min(found.x, found.y) > _TOLERANCE:
        what = f"states {found} micrometres per pixel, which are not square"
        raise InputError(what, where=path, fix=f"{WAY_OUT}, or scale the image to square pixels")
    return found.mean


def overruled(found: Stated | None, given: float | None, path: Path) -> str | None:
    """What to tell the user whose word holds against the file's; None where they agree within 2 %."""
    if found is None or given is None:
        return None
    if all(1 / _TOLERANCE <= v / given <= _TOLERANCE for v in (found.x, found.y)):
        return None
    return f"{path}: {given:g} micrometres per pixel are used, as given; the file states {found}"


def micrometres(unit: str) -> float | None:
    """Micrometres per unit of length as files write it; None for other units, such as ``pixel``."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), unit)
    # The micro sign, read as Latin-1 where it was written as UTF-8, has an A with circumflex before it.
    text = unicodedata.normalize("NFKC", text).strip().removeprefix("\u00c2")
    word = text.lower().removesuffix("s")
    return _UNITS.get(text) or (_UNITS.get(word) if len(word) > 2 else None)
