"""Our own layout: ``dataset.yaml``, ``images/``, ``masks/`` and an optional ``split.csv``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aczerots.datasets.base import Dataset, Sample, Split
from aczerots.datasets.pairs import images_in, require_folder, require_masks, some_names
from aczerots.datasets.split import seeded_split
from aczerots.errors import InputError, SettingsError
from aczerots.slides.labels import MaskFile
from aczerots.slides.open import briefly, open_slide
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


def folder_dataset(path: Path, seed: int = 0) -> Dataset:
    """Labelled images in our own layout.

    ``dataset.yaml`` has ``name``, ``classes`` (``name``, ``color``, optional ``void``, ``seen``,
    ``descriptions``; ids in the masks are positions) and optionally ``mpp``, which
    holds against what the images state. Classes with ``void: true``
    become IGNORE and leave the taxonomy. ``split.csv`` has the columns ``image`` and ``split`` and
    optionally ``patient``; others are ignored, and so are images that it does not list. Without it, 70 % of
    the images are the pool.
    """
    require_folder(path)
    description = _read_description(path / "dataset.yaml")
    taxonomy, codes = _without_void(description.classes, path / "dataset.yaml")
    images, masks = images_in(path / "images"), images_in(path / "masks")
    split, patients = _split(path / "split.csv", images, seed)
    images = {name: file for name, file in images.items() if name in split}
    require_masks(images, masks, path / "masks")
    cache = PixelCache()
    samples, notes = [], list[str]()
    for name, file in images.items():
        slide = open_slide(file, description.mpp, id=name, cache=cache, tell=notes.append)
        truth = MaskFile(masks[name], slide, codes, cache=cache)
        samples.append(Sample(slide, truth, split[name], patients.get(name)))
    return Dataset(description.name, taxonomy, tuple(samples), tuple(briefly(notes)))


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
    try:
        return Taxonomy(classes=tuple(kept)), codes
    except SettingsError as error:
        raise InputError(error.what, where=path, fix=error.fix) from None


def _split(file: Path, images: Mapping[str, Path], seed: int) -> tuple[dict[str, Split], dict[str, str]]:
    """(part of each image that is listed, patient where stated); a seeded split where there is no file."""
    if not file.exists():
        return seeded_split(list(images), seed), {}
    split: dict[str, Split] = {}
    patients: dict[str, str] = {}
    for where, row in read_rows(file, ("image", "split")):
        name, part, patient = row["image"], row["split"], row.get("patient")
        if part not in ("train", "test"):
            raise InputError(f"split '{part}' is neither 'train' nor 'test'", where=where)
        if name in split:
            raise InputError(f"image '{name}' is listed twice", where=where)
        split[name] = "train" if part == "train" else "test"
        if patient:
            patients[name] = patient
    missing = split.keys() - images.keys()
    if missing:
        raise InputError(f"{len(missing)} listed image(s) do not exist: {some_names(missing)}", where=file)
    # A patient in both parts would make the test measure memory.
    train, test = ({p for n, p in patients.items() if split[n] == part} for part in ("train", "test"))
    both = train & test
    if both:
        raise InputError(f"{len(both)} patient(s) are in train and in test: {some_names(both)}", where=file)
    return split, patients
