"""A run folder in memory: what was run, its rounds, the chosen tiles, the example pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from aczerots.errors import AczerotsError, InputError, first_complaint
from aczerots.report.tables import Metrics, Selected, read_metrics, read_selections
from aczerots.taxonomy import Taxonomy

Score = Annotated[float | None, Field(allow_inf_nan=False)]


class RunRecord(BaseModel):
    """What ``run.json`` says; further keys are ignored.

    Attributes:
        settings: Every setting by name, as JSON.
        seconds: Wall-clock seconds by stage.
        versions: Of libraries and of the program.
        hashes: Of data, backbone and model.
        full_label: Scores of the model trained on the whole pool, by column of ``metrics.csv``.
        complete: Whether all rounds are done.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    dataset: str
    strategy: str
    preset: str
    seed: int
    settings: dict[str, JsonValue] = {}
    taxonomy: Taxonomy
    seconds: dict[str, float] = {}
    versions: dict[str, str] = {}
    hashes: dict[str, str] = {}
    full_label: dict[str, Score] | None = None
    complete: bool = False


@dataclass(frozen=True)
class Example:
    """Pictures of one test image, all of one size; None where one is missing.

    ``truth`` and ``prediction`` hold label ids as palette index, 255 is IGNORE; ``uncertainty`` is 8-bit grey, white
    where most uncertain.
    """

    name: str
    image: Path
    truth: Path | None
    prediction: Path | None
    uncertainty: Path | None


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        folder: Where it lies.
        record: What ``run.json`` says.
        rounds: Scores, rounds ascending, at least one.
        selections: Chosen tiles by round and rank; empty where no strategy chose.
        examples: Example pictures by name.
        chosen: Thumbnails of chosen tiles by (round, rank).
    """

    folder: Path
    record: RunRecord
    rounds: tuple[Metrics, ...]
    selections: tuple[Selected, ...]
    examples: tuple[Example, ...]
    chosen: Mapping[tuple[int, int], Path]

    @property
    def zero_shot_hiou(self) -> float | None:
        """The hIoU of round 0, None when it is undefined or was not evaluated."""
        return self.rounds[0].hiou if self.rounds[0].round == 0 else None

    @property
    def full_hiou(self) -> float | None:
        """The hIoU of the model trained on the whole pool, None when it is not known."""
        return (self.record.full_label or {}).get("hiou")


def _read_record(path: Path) -> RunRecord:
    """Parse and check ``run.json``."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", where=f"{path}:{error.lineno}") from error
    except (OSError, UnicodeDecodeError) as error:
        fix = "Name a folder that 'aczerots simulate' wrote"
        raise InputError(f"cannot read it: {error}", where=path, fix=fix) from error
    try:
        return RunRecord.model_validate(content)
    except ValidationError as error:
        key, what = first_complaint(error, "the whole")
        raise InputError(f"{key}: {what}", where=path) from error
    except AczerotsError as error:
        raise InputError(f"taxonomy: {error.what}", where=path) from error


def _find_examples(folder: Path) -> tuple[Example, ...]:
    """Example pictures by name; an image alone is enough."""
    found = []
    for image in sorted(folder.glob("*.image.png")):
        name = image.name.removesuffix(".image.png")
        others = [folder / f"{name}.{kind}.png" for kind in ("truth", "prediction", "uncertainty")]
        found.append(Example(name, image, *(path if path.is_file() else None for path in others)))
    return tuple(found)


def _find_chosen(folder: Path) -> dict[tuple[int, int], Path]:
    """Thumbnails ``<round>-<rank>.jpg`` by (round, rank)."""
    names = ((path, re.fullmatch(r"(\d+)-(\d+)\.jpg", path.name)) for path in sorted(folder.glob("*.jpg")))
    return {(int(match[1]), int(match[2])): path for path, match in names if match}


def read_run(folder: Path) -> Run:
    """Read and check a run folder.

    ``run.json`` and ``metrics.csv`` must be there. ``selections.csv`` is missing where no strategy chose
    (full-label and zero-shot runs); ``examples/`` and ``chosen/`` may be missing.

    Raises:
        InputError: A file is missing, unreadable or damaged; names the file, and the line where there is one.
    """
    record = _read_record(folder / "run.json")
    selections = folder / "selections.csv"
    return Run(
        folder=folder,
        record=record,
        rounds=read_metrics(folder / "metrics.csv", record.taxonomy.names),
        selections=read_selections(selections) if selections.exists() else (),
        examples=_find_examples(folder / "examples"),
        chosen=_find_chosen(folder / "chosen"),
    )
