"""HER2ST: breast cancer sections with a pathologist's label per spot.

Andersson et al. 2021, Nat Commun 12:6012.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aczerots.datasets.base import Dataset, Sample, Split
from aczerots.datasets.pairs import images_in, require_folder
from aczerots.datasets.split import seeded_split
from aczerots.datasets.spots import Spots, read_spots
from aczerots.errors import InputError
from aczerots.slides.base import Box
from aczerots.slides.image import ImageSlide
from aczerots.slides.pixels import PixelCache
from aczerots.taxonomy import Taxonomy, TissueClass

_CLASSES = (
    TissueClass(name="invasive cancer", color=(200, 40, 40)),
    TissueClass(name="cancer in situ", color=(240, 130, 40)),
    TissueClass(name="connective tissue", color=(90, 160, 70)),
    TissueClass(name="adipose tissue", color=(240, 200, 60)),
    TissueClass(name="immune infiltrate", color=(60, 60, 190)),
    TissueClass(name="breast glands", color=(60, 190, 190)),
)

_TABLE = "_labeled_coordinates.tsv"


@dataclass(frozen=True)
class _Section:
    """An image with its spots, in pixels of the image."""

    name: str
    image: Path
    size: tuple[int, int]
    spots: Spots
    mpp: float


def her2st_dataset(path: Path, seed: int = 0) -> Dataset:
    """Sections with a table ``NAME_labeled_coordinates.tsv``; images without one are left out.

    A spot is a disc of 100 um; everything else is IGNORE, and so are ``undetermined`` spots. Images may be
    reduced; the resolution follows from the spot array, to which they are cut. Sections are split 70/30 by
    patient, the letter of the section name. With a single patient each section is cut through the median spot into two
    slides of their own, the first for the pool, the second for the test. Such a test part is not independent, and its
    samples state no patient.
    """
    require_folder(path)
    tables = sorted(path.glob(f"*{_TABLE}"))
    if not tables:
        raise InputError(f"there is no table NAME{_TABLE}", where=path)
    images = images_in(path)
    cache = PixelCache()
    sections = [_section(table, images) for table in tables]
    patients = {s.name: s.name[0] for s in sections}
    if len(set(patients.values())) == 1:
        samples = [half for s in sections for half in _halves(s, cache)]
    else:
        split = seeded_split(list(patients), seed, patients)
        samples = [_sample(s, s.name, None, split[s.name], patients[s.name], cache) for s in sections]
    return Dataset("her2st", Taxonomy(classes=_CLASSES), tuple(samples))


def _section(table: Path, images: dict[str, Path]) -> _Section:
    name = table.name.removesuffix(_TABLE)
    if name not in images:
        raise InputError(f"there is no image '{name}' for the table", where=table)
    labels = {c.name: i for i, c in enumerate(_CLASSES)}
    size = ImageSlide(images[name], name).size
    spots, mpp = read_spots(table, size, labels)
    return _Section(name, images[name], size, spots, mpp)


def _sample(s: _Section, id: str, part: Box | None, split: Split, patient: str | None, cache: PixelCache) -> Sample:
    slide = ImageSlide(s.image, id, s.mpp, part=part, cache=cache)
    x, y = (part.x, part.y) if part else (0, 0)
    return Sample(slide, s.spots.within(x, y, slide.size), split, patient)


def _halves(s: _Section, cache: PixelCache) -> list[Sample]:
    """Two slides, cut across the axis that leaves more classes on both sides."""
    width, height = s.size
    cuts = [int(np.clip(round(np.median(s.spots.xy[:, axis])), 1, s.size[axis] - 1)) for axis in (0, 1)]
    axis = max((0, 1), key=lambda a: (s.spots.classes_on_both_sides(a, cuts[a]), -a))
    cut = cuts[axis]
    if axis == 0:
        parts = {"left": Box(0, 0, cut, height), "right": Box(cut, 0, width - cut, height)}
    else:
        parts = {"upper": Box(0, 0, width, cut), "lower": Box(0, cut, width, height - cut)}
    splits: tuple[Split, Split] = ("train", "test")
    named = zip(parts.items(), splits, strict=True)
    return [_sample(s, f"{s.name}-{side}", box, split, None, cache) for (side, box), split in named]
