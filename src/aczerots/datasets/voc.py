"""Pascal VOC 2012 with the augmented segmentation masks (Hariharan et al. 2011): 20 classes of objects."""

from __future__ import annotations

from pathlib import Path

from aczerots.datasets.base import Dataset, Sample, Split
from aczerots.datasets.pairs import images_in, require_folder, require_masks, some_names
from aczerots.datasets.split import seeded_split
from aczerots.errors import InputError
from aczerots.slides.image import ImageSlide
from aczerots.slides.labels import MaskFile
from aczerots.slides.pixels import PixelCache
from aczerots.storage.text_file import read_text
from aczerots.taxonomy import IGNORE, Taxonomy, TissueClass

_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
_CODES = {0: IGNORE} | {i + 1: i for i in range(len(_NAMES))}
"""The 15/5 protocol does not score the background, id 0."""


def voc_dataset(path: Path, seed: int = 0) -> Dataset:
    """Photographs with object masks.

    ``JPEGImages/`` and ``SegmentationClassAug/`` (or ``SegmentationClass/``), and in
    ``ImageSets/Segmentation/`` the lists ``train_aug.txt`` or ``train.txt`` (pool) and ``val.txt`` (test).
    Without lists every image that has a mask is used, 70 % of them as the pool.
    """
    require_folder(path)
    images = images_in(path / "JPEGImages")
    augmented = path / "SegmentationClassAug"
    folder = augmented if augmented.is_dir() else path / "SegmentationClass"
    masks = images_in(folder)
    split = _listed(path / "ImageSets" / "Segmentation")
    if split is None:
        split = seeded_split(sorted(images.keys() & masks.keys()), seed)
    absent = split.keys() - images.keys()
    if absent:
        raise InputError(f"{len(absent)} listed image(s) are missing: {some_names(absent)}", where=path)
    images = {name: file for name, file in images.items() if name in split}
    if not images:
        raise InputError("no image has a mask of its name", where=path)
    require_masks(images, masks, folder)
    cache = PixelCache()
    slides = [ImageSlide(file, name, cache=cache) for name, file in images.items()]
    samples = (Sample(s, MaskFile(masks[s.id], s, _CODES, cache=cache), split[s.id]) for s in slides)
    return Dataset("voc", _taxonomy(), tuple(samples))


def _listed(folder: Path) -> dict[str, Split] | None:
    """Split of every listed image, None without lists."""
    pool = next((f for n in ("train_aug", "train") if (f := folder / f"{n}.txt").exists()), None)
    test = folder / "val.txt"
    if pool is None or not test.exists():
        return None
    split: dict[str, Split] = {}
    parts: tuple[tuple[Path, Split], ...] = ((pool, "train"), (test, "test"))
    for file, part in parts:
        for name in read_text(file).split():
            if name in split:
                raise InputError(f"image '{name}' is listed twice", where=file)
            split[name] = part
    return split


def _taxonomy() -> Taxonomy:
    """The 20 classes in the colours of the VOC palette (bits of the id spread over the channels)."""
    classes = []
    for i, name in enumerate(_NAMES, start=1):
        color = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                color[channel] |= ((i >> (3 * bit + channel)) & 1) << (7 - bit)
        classes.append(TissueClass(name=name, color=(color[0], color[1], color[2])))
    return Taxonomy(classes=tuple(classes))
