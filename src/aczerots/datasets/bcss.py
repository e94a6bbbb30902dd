"""BCSS as released: triple-negative breast cancer from TCGA (Amgad et al. 2019, Bioinformatics 35:3461)."""

from __future__ import annotations

import re
from pathlib import Path

from aczerots.datasets.base import Dataset, Sample
from aczerots.datasets.pairs import images_in, require_folder, require_masks
from aczerots.datasets.split import seeded_split
from aczerots.errors import InputError
from aczerots.slides.image import ImageSlide
from aczerots.slides.labels import MaskFile
from aczerots.slides.pixels import PixelCache
from aczerots.taxonomy import IGNORE, Taxonomy, TissueClass

_CLASSES = (
    TissueClass(name="tumor", color=(200, 40, 40)),
    TissueClass(name="stroma", color=(90, 160, 70)),
    TissueClass(name="lymphocytic infiltrate", color=(60, 60, 190)),
    TissueClass(name="necrosis or debris", color=(110, 90, 80)),
    TissueClass(name="fat", color=(240, 200, 60)),
    TissueClass(name="plasma cells", color=(150, 80, 180)),
)

_POSITION = {1: 0, 2: 1, 3: 2, 4: 3, 9: 4, 10: 5, 19: 0, 20: 0}
_CODES = {code: _POSITION.get(code, IGNORE) for code in range(22)}
"""``meta/gtruth_codes.tsv`` of the BCSS repository has the codes 0-21. 0 lies outside the region of interest
and must not count. Angioinvasion (19) and DCIS (20) are tumor, as in the authors' own grouping. The rest has
no class here and is IGNORE: glandular secretions 5, blood 6, exclude 7, metaplasia 8, other immune
infiltrate 11 (in the authors' inflammatory group, but neither lymphocytes nor plasma cells), mucoid
material 12, normal acinus or duct 13, lymphatics 14, undetermined 15, nerve 16, skin adnexa 17, blood
vessel 18, other 21."""

_CASE = re.compile(r"TCGA-\w{2}-\w{4}")
_MPP = re.compile(r"MPP-(\d+(?:\.\d+)?)")
_IMAGE_FOLDERS = ("rgbs_colorNormalized", "rgbs", "images")


def bcss_dataset(path: Path, seed: int = 0) -> Dataset:
    """Regions, or patches of any size cut from them.

    ``rgbs_colorNormalized/`` (or ``rgbs/``, ``images/``) and ``masks/`` hold PNG files of the same names. A
    name starts with the TCGA barcode, whose case is the patient, and may state the resolution
    (``MPP-0.2500``).
    """
    require_folder(path)
    folder = next((path / f for f in _IMAGE_FOLDERS if (path / f).is_dir()), path / _IMAGE_FOLDERS[0])
    images, masks = images_in(folder), images_in(path / "masks")
    require_masks(images, masks, path / "masks")
    patients = {name: _patient(name, folder) for name in images}
    split = seeded_split(list(images), seed, patients)
    cache = PixelCache()
    samples = []
    for name, file in images.items():
        stated = _MPP.search(name)
        slide = ImageSlide(file, name, float(stated[1]) if stated else None, cache=cache)
        truth = MaskFile(masks[name], slide, _CODES, cache=cache)
        samples.append(Sample(slide, truth, split[name], patients[name]))
    return Dataset("bcss", Taxonomy(classes=_CLASSES), tuple(samples))


def _patient(name: str, folder: Path) -> str:
    case = _CASE.match(name)
    if case is None:
        what = f"'{name}' does not start with a TCGA barcode"
        raise InputError(what, where=folder, fix="Keep the names of the release")
    return case[0]
