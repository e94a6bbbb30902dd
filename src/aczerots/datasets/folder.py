"""Our own layout: ``dataset.yaml``, ``images/``, ``masks/`` and an optional ``split.csv``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aczerots.datasets.base import Dataset, Sample, Split
from aczerots.datasets.pairs import existing_folder, images_in, require_masks, some_names
from aczerots.datasets.split import seeded_split
from aczerots.errors import InputError
from aczerots.slides.labels import MaskFile
from aczerots.slides.open import open_slide
from aczerots.slides.pixels import PixelCache
from aczerots.storage.csv_file import read_rows
from aczerots.storage.yaml_file import read_yaml
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
    if not path.exists():
        raise InputError("dataset.yaml is missing", where=path.parent)
    content = read_yaml(path)
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
    for where, entry in read_rows(file, ("image", "split")):
        name, split, patient = entry["image"], entry["split"], entry.get("patient") or None
        if split not in ("train", "test"):
            raise InputError(f"split '{split}' is neither 'train' nor 'test'", where=where)
        if name in rows:
            raise InputError(f"image '{name}' is listed twice", where=where)
        rows[name] = _Row("train" if split == "train" else "test", patient)
    _check_patients(rows, file)
    return rows


def _check_patients(rows: dict[str, _Row], file: Path) -> None:
    """Refuse patients in both parts: the test would measure memory."""
    parts: dict[Split, set[str]] = {"train": set(), "test": set()}
    for row in rows.values():
        if row.patient:
            parts[row.split].add(row.patient)
    both = parts["train"] & parts["test"]
    if both:
        raise InputError(f"{len(both)} patient(s) are in train and in test: {some_names(both)}", where=file)
