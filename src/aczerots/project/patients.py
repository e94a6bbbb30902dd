"""A lab's table of slides: their patients and resolutions; how many tiles of one a round may ask for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aczerots.errors import InputError
from aczerots.names import match_names
from aczerots.selection.limits import Limit, tile_limits
from aczerots.slides.base import Tile
from aczerots.slides.resolution import MPP_RANGE
from aczerots.storage.csv_file import read_rows

if TYPE_CHECKING:
    from aczerots.project.settings import ProjectSettings


def read_patients(file: Path) -> dict[str, str]:
    """Patient by slide, from a CSV file with the columns ``slide`` and ``patient``, either of which may be empty.

    Raises:
        InputError: The file cannot be read, lacks a column, or names two patients for one slide.
    """
    return {slide: patient for slide, (patient, _) in _column(file, "patient", "patients").items()}


def read_slide_mpp(file: Path) -> dict[str, float]:
    """Micrometres per level-0 pixel of the slides that have one in the column ``mpp`` of the same file.

    Raises:
        InputError: As of :func:`read_patients`, or a value is no resolution of a slide.
    """
    found = {}
    for slide, (text, where) in _column(file, "mpp", "resolutions").items():
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not MPP_RANGE[0] <= value <= MPP_RANGE[1]:
            fix = f"Use {MPP_RANGE[0]:g} to {MPP_RANGE[1]:g} micrometres per pixel, with a point: 0.25"
            raise InputError(f"'{text}' is no resolution of a slide", where=where, fix=fix)
        found[slide] = value
    return found


def _column(file: Path, column: str, several: str) -> dict[str, tuple[str, str]]:
    """(value, line for messages) by slide, of one of the columns of which a table has at least one."""
    rows = list(read_rows(file, ("slide",)))
    if not any({"patient", "mpp"} & row.keys() for _, row in rows):
        raise InputError("the column 'patient' is missing, and so is 'mpp'", where=file)
    found: dict[str, tuple[str, str]] = {}
    for where, row in rows:
        slide, value = row["slide"], row.get(column, "")
        if value and found.setdefault(slide, (value, where))[0] != value:
            raise InputError(f"slide '{slide}' has two {several}", where=where)
    return found


def round_limits(
    folder: Path, settings: ProjectSettings, tiles: Sequence[Tile], per_slide: int | None, per_patient: int | None
) -> tuple[Limit, ...]:
    """How many tiles of a slide and of a patient a round asks for at most; None takes what the project's settings say.

    Raises:
        InputError: The table of patients cannot be used.
        SettingsError: A limit per patient without a patient.
    """
    table = {} if settings.patients is None else read_patients(folder / settings.patients)
    slides = [t.slide for t in tiles]
    rows = match_names(dict.fromkeys(slides), table)
    return tile_limits(
        slides,
        {slide: table[row] for slide, row in rows.items()},
        per_slide=per_slide or settings.per_slide,
        per_patient=per_patient or settings.per_patient,
    )
