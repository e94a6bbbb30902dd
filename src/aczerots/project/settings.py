"""``project.yaml``: what a project is about, checked on every reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aczerots.config import PerRound, Precision, Seed, TextMode, TileSize, option_error
from aczerots.errors import InputError, SettingsError, first_complaint
from aczerots.storage.files import write_text_atomic
from aczerots.storage.yaml_file import read_yaml
from aczerots.taxonomy import MAX_CLASSES, Taxonomy, TissueClass

FILE = "project.yaml"


class ProjectSettings(BaseModel):
    """Content of ``project.yaml``; what is not listed here is as in :class:`~aczerots.config.SimulateSettings`.

    Attributes:
        version: Of the layout of the file.
        classes: The tissue classes in the order of their label ids.
        mpp: Micrometres per pixel that tiles are read at; None reads level-0 pixels as they are.
        slide_mpp: Micrometres per level-0 pixel of all slides, against what files state; None takes what they state.
        tissue: What gets a class: ``auto``, ``everywhere``, or a folder of masks, absolute or from the project folder
            (:class:`~aczerots.slides.labelled.TissueRule`).
        budget: Tiles per round.
        patients: CSV file with the column slide, and patient or mpp (micrometres per level-0 pixel), or both; absolute
            or from the project folder; None knows neither.
        double: Fraction of the tiles of a round that two people draw.
        folds: Parts that the drawn tiles are divided into to measure a model on tiles it was not fitted to; 0 does
            not measure.
        database: URL of a PostgreSQL database, without a password; None is ``project.sqlite`` in the folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(1, ge=1, le=1)
    classes: tuple[TissueClass, ...] = Field(min_length=1, max_length=MAX_CLASSES)
    backbone: str = "embedded"
    refine_with: str | None = None
    precision: Precision = "fp32"
    text: TextMode = "descriptions"
    tile_size: TileSize = 224
    mpp: float | None = Field(None, gt=0)
    slide_mpp: float | None = Field(None, gt=0)
    tissue: str = Field("auto", min_length=1)
    preset: str = "prozs"
    strategy: str = "aczerots"
    budget: int = Field(10, ge=1)
    per_slide: PerRound = None
    per_patient: PerRound = None
    patients: str | None = None
    double: float = Field(0.0, ge=0, le=1)
    folds: int = Field(5, ge=0, le=50)
    seed: Seed = 0
    database: str | None = None

    def model_post_init(self, context: object) -> None:
        """Refuse classes that contradict each other, and classes of which none is drawn."""
        del context
        if not any(c.seen for c in self.taxonomy.classes):
            raise SettingsError("all classes are unseen", fix="Mark at least one class as seen: it will be drawn")

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes, without the bundled descriptions."""
        return Taxonomy(classes=self.classes)


def make_settings(**values: Any) -> ProjectSettings:
    """Settings from keyword arguments.

    Raises:
        SettingsError: A value is out of range or of the wrong kind; the first is named as an option.
    """
    try:
        return ProjectSettings.model_validate(values)
    except ValidationError as error:
        raise option_error(error) from error


def read_settings(folder: Path) -> ProjectSettings:
    """The settings of a project folder.

    Raises:
        InputError: No ``project.yaml``, or something in it is wrong; says what.
    """
    path = folder / FILE
    if not path.exists():
        fix = 'Make one: aczerots init FOLDER --slides "IMAGES/*" --classes "tumor:seen,necrosis:unseen"'
        raise InputError(f"is no project: {FILE} is missing", where=folder, fix=fix)
    try:
        return ProjectSettings.model_validate(read_yaml(path))
    except ValidationError as error:
        key, what = first_complaint(error)
        raise InputError(f"'{key}': {what}", where=path) from error
    except SettingsError as error:
        raise InputError(error.what, where=path, fix=error.fix) from error


def write_settings(folder: Path, settings: ProjectSettings) -> None:
    """Write ``project.yaml``.

    Raises:
        StorageError: It cannot be written.
    """
    content = settings.model_dump(mode="json", exclude_none=True)
    write_text_atomic(folder / FILE, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
