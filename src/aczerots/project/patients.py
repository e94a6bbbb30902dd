"""Which patient each slide is of, from a table of the lab, and how many tiles of one a round may ask for."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from aczerots.errors import InputError
from aczerots.project.folder import Project
from aczerots.selection.limits import Limit, tile_limits
from aczerots.slides.base import Tile

_COLUMNS = ("slide", "patient")


def read_patients(file: Path) -> dict[str, str]:
    """Patient by slide, from a CSV file with the columns ``slide`` and ``patient``, either of which may be empty.

    Raises:
        InputError: The file cannot be read, lacks a column, or names two patients for one slide.
    """
    found: dict[str, str] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            missing = [c for c in _COLUMNS if c not in (rows.fieldnames or ())]
            if missing:
                raise InputError(f"has no column '{missing[0]}'", where=file, fix="The columns are: slide, patient")
            for row in rows:
                slide, patient = ((row[c] or "").strip() for c in _COLUMNS)
                if patient and found.setdefault(slide, patient) != patient:
                    raise InputError(f"slide '{slide}' has two patients", where=f"{file}, line {rows.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read: {error}", where=file) from error
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
    patients = {} if settings.patients is None else read_patients(project.folder / settings.patients)
    return tile_limits(
        [t.slide for t in tiles],
        patients,
        per_slide=per_slide or settings.per_slide,
        per_patient=per_patient or settings.per_patient,
    )
