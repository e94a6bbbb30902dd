"""WSSS4LUAD as released (Han et al. 2022, arXiv 2204.06455): lung adenocarcinoma."""

from __future__ import annotations

from pathlib import Path

from aczerots.datasets.base import Dataset, Sample, Split
from aczerots.datasets.pairs import images_in, require_folder, require_masks
from aczerots.datasets.split import seeded_split
from aczerots.slides.image import ImageSlide
from aczerots.slides.labels import MaskFile
from aczerots.slides.pixels import PixelCache
from aczerots.taxonomy import IGNORE, Taxonomy, TissueClass

_CODES = {0: 0, 1: 1, 2: 2, 3: IGNORE}
"""Palette codes: tumor, stroma, normal, white background. The challenge does not score the background."""

_CLASSES = (
    TissueClass(name="tumor epithelium", color=(0, 64, 128)),
    TissueClass(name="tumor-associated stroma", color=(64, 128, 0)),
    TissueClass(name="normal lung tissue", color=(243, 152, 0)),
)

_FOLDERS: tuple[tuple[str, str, Split], ...] = (
    ("2.validation", "v", "train"),
    ("3.testing", "t", "test"),
)


def wsss4luad_dataset(path: Path, seed: int = 0) -> Dataset:
    """The parts of WSSS4LUAD with label masks.

    ``2.validation`` is the pool and ``3.testing`` the test part; each has ``img/``, ``mask/`` and
    ``background-mask/``, which repeats code 3 of ``mask`` and is not read. ``1.training`` has image-level
    labels only (in the file names) and cannot be drawn from, so it is left out. Early releases have no
    ``3.testing/mask``; then ``2.validation`` is split 70/30. The crops carry no patient ids.
    """
    require_folder(path)
    cache = PixelCache()
    parts = [f for f in _FOLDERS if f[1] == "v" or (path / f[0] / "mask").exists()]
    samples: list[Sample] = []
    for folder, prefix, part in parts:
        images, masks = images_in(path / folder / "img"), images_in(path / folder / "mask")
        require_masks(images, masks, path / folder / "mask")
        split = seeded_split(list(images), seed) if len(parts) == 1 else dict.fromkeys(images, part)
        for name, file in images.items():
            slide = ImageSlide(file, f"{prefix}{name}", cache=cache)
            samples.append(Sample(slide, MaskFile(masks[name], slide, _CODES, cache=cache), split[name]))
    return Dataset("wsss4luad", Taxonomy(classes=_CLASSES), tuple(samples))
