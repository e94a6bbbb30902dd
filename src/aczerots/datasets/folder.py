"""Our own layout: ``dataset.yaml``, ``images/``, ``masks/`` and an optional ``split.csv``."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aczerots.datasets.base import Dataset, Sample, Split
from aczerots.datasets.pairs import existing_folder, images_in, require_masks, some_names
from aczerots.datasets.split import seeded_split
from aczerots.errors import InputError
from aczerots.slides.labels import MaskFile
from aczerots.slides.open import open_slide
from aczerots.slides.pixels import PixelCache
from aczerots.taxonomy import IGNORE, MAX_CLASSES, Taxonomy, TissueClass


class _ClassEntry(TissueClass):
    """A class in ``dataset.yaml``; void classes become IGNORE."""

    void: bool = False


class _Description(BaseModel):
    """Content of ``dataset.yaml``."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)
    classes: tuple[_ClassEntry, ...] = Field(min_length=1, max_length=MAX_CLASSES)
    mpp: float | None = Field(default=None, gt=0)


@dataclass(frozen=True)
class _Row:
    """A line of ``split.csv``."""

    split: Split
    patient: str | None


def folder_dataset(path: Path, seed: int = 0) -> Dataset:
    """Labelled images in our own layout.

    ``dataset.yaml`` has ``name``, ``classes`` (``name``, ``color``, optional ``void``, ``seen``,
    ``descriptions``; ids in the masks are positions) and optionally ``mpp``. Classes with ``void: true``
    become IGNORE and leave the taxonomy. ``split.csv`` has the columns ``image`` and ``split`` and
    optionally ``patient``; others are ignored, and so are images that it does not list. Without it, 70 % of
    the images are the pool.

    Args:
        path: The folder.
        seed: For the split where there is no ``split.csv``.

    Raises:
        InputError: Something in the folder is missing, contradictory or cannot be read.
    """
    existing_folder(path)
    description = _read_description(path / "dataset.yaml")
    taxonomy, codes = _without_void(description.classes, path / "dataset.yaml")
    images, masks = images_in(path / "images"), images_in(path / "masks")
    rows = _split_rows(path, images, seed)
    images = {name: file for name, file in images.items() if name in rows}
    require_masks(images, masks, path / "masks")
    cache = PixelCache()
    samples = []
    for name, file in images.items():
        slide = open_slide(file, description.mpp, id=name, cache=cache)
        truth = MaskFile(masks[name], slide, codes, cache=cache)
        samples.append(Sample(slide, truth, rows[name].split, rows[name].patient))
    return Dataset(description.name, taxonomy, tuple(samples))


def _read_description(path: Path) -> _Description:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("dataset.yaml is missing", where=path.parent) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from None
    except UnicodeDecodeError:
        raise InputError("this is not UTF-8 text", where=path) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"this is not YAML: {error.problem}", where=f"{path}, line {line}") from None
    except yaml.YAMLError as error:
        raise InputError(f"this is not YAML: {error}", where=path) from None
    try:
        return _Description.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "content"
        unknown = first["type"] == "extra_forbidden"
        what = f"unknown key '{key}'" if unknown else f"'{key}': {first['msg'].lower()}"
        raise InputError(what, where=path) from None


def _without_void(entries: Iterable[_ClassEntry], path: Path) -> tuple[Taxonomy, dict[int, int]]:
    """The taxonomy of the classes that count, and file id -> position or IGNORE."""
    codes: dict[int, int] = {}
    kept: list[TissueClass] = []
    for code, entry in enumerate(entries):
        codes[code] = IGNORE if entry.void else len(kept)
        if not entry.void:
            kept.append(TissueClass(**entry.model_dump(exclude={"void"})))
    if not kept:
        raise InputError("all classes are void", where=path)
    names = [c.name for c in kept]
    double = {n for n in names if names.count(n) > 1}
    if double:
        raise InputError(f"class '{min(double)}' is listed twice", where=path)
    return Taxonomy(classes=tuple(kept)), codes


def _split_rows(path: Path, images: dict[str, Path], seed: int) -> dict[str, _Row]:
    file = path / "split.csv"
    if not file.exists():
        return {n: _Row(s, None) for n, s in seeded_split(list(images), seed).items()}
    rows = _read_rows(file)
    missing = rows.keys() - images.keys()
    if missing:
        raise InputError(f"{len(missing)} listed image(s) do not exist: {some_names(missing)}", where=file)
    return rows


def _read_rows(file: Path) -> dict[str, _Row]:
    rows: dict[str, _Row] = {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            lacking = {"image", "split"} - set(reader.fieldnames or ())
            if lacking:
                raise InputError(f"the column '{min(lacking)}' is missing", where=file)
            for entry in reader:
                where = f"{file}, line {reader.line_num}"
                name, row = _parse_row(entry, where)
                if name in rows:
                    raise InputError(f"image '{name}' is listed twice", where=where)
                rows[name] = row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read ({error})", where=file) from None
    _check_patients(rows, file)
    return rows


def _parse_row(entry: dict[str, str], where: str) -> tuple[str, _Row]:
    name, split = (entry["image"] or "").strip(), (entry["split"] or "").strip()
    patient = (entry.get("patient") or "").strip() or None
    if split == "train":
        return name, _Row("train", patient)
    if split == "test":
        return name, _Row("test", patient)
    raise InputError(f"split '{split}' is neither 'train' nor 'test'", where=where)


def _check_patients(rows: dict[str, _Row], file: Path) -> None:
    """No patient is in both parts: the test would measure memory."""
    parts: dict[Split, set[str]] = {"train": set(), "test": set()}
    for row in rows.values():
        if row.patient:
            parts[row.split].add(row.patient)
    both = parts["train"] & parts["test"]
    if both:
        raise InputError(f"{len(both)} patient(s) are in train and in test: {some_names(both)}", where=file)
