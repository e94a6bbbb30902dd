"""Which patient each slide is of, from a table of the lab, and how many tiles of one a round may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aczerots.errors import InputError
from aczerots.names import match_names
from aczerots.project.folder import Project
from aczerots.selection.limits import Limit, tile_limits
from aczerots.slides.base import Tile
from aczerots.storage.csv_file import read_rows


def read_patients(file: Path) -> dict[str, str]:
    """Patient by slide, from a CSV file with the columns ``slide`` and ``patient``, either of which may be empty.

    Raises:
        InputError: The file cannot be read, lacks a column, or names two patients for one slide.
    """
    found: dict[str, str] = {}
    for where, row in read_rows(file, ("slide", "patient")):
        slide, patient = row["slide"], row["patient"]
        if patient and found.setdefault(slide, patient) != patient:
            raise InputError(f"slide '{slide}' has two patients", where=where)
    return found


def round_limits(
    project: Project, tiles: Sequence[Tile], per_slide: int | None, per_patient: int | None
) -> tuple[Limit, ...]:
    """How many tiles of a slide and of a patient a round asks for at most; None takes what the project's settings say.

    Raises:
        InputError: The table of patients cannot be used.
        SettingsError: A limit per patient without a patient.
    """
    settings = project.settings
    table = {} if settings.patients is None else read_patients(project.folder / settings.patients)
    slides = [t.slide for t in tiles]
    rows = match_names(dict.fromkeys(slides), table)
    return tile_limits(
        slides,
        {slide: table[row] for slide, row in rows.items()},
        per_slide=per_slide or settings.per_slide,
        per_patient=per_patient or settings.per_patient,
    )
