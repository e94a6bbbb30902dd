"""Training tiles: where they come from, which tissues each source may hold, and how they are varied.

Only images and image-level names are read: no mask of a real dataset, and nothing of a ``test`` split.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aczerots.errors import InputError

TILE = 224
_COLON = "colonic stroma 3;background 1;lymphocytes .3"


@dataclass(frozen=True)
class Source:
    """Images of one kind.

    Attributes:
        name: Short name.
        files: The images.
        tissues: Name in the profile table to its expected fraction of the cells.
        sides: Smallest and largest side in pixels of the square that becomes a tile.
    """

    name: str
    files: tuple[Path, ...]
    tissues: dict[str, float]
    sides: tuple[int, int]


def _mix(text: str) -> dict[str, float]:
    """``name fraction;name fraction`` as a mapping with fractions that sum to 1."""
    pairs = [part.rsplit(" ", 1) for part in text.split(";")]
    total = sum(float(fraction) for _, fraction in pairs)
    return {name: float(fraction) / total for name, fraction in pairs}


_FOLDERS = {
    "lung_n": "normal lung tissue 6;background 1.5;blood 1;blood vessel .7",
    "lung_aca": "lung tumor epithelium 6;tumor-associated stroma 1.5;background .7;lymphocytes .4",
    "lung_scc": "squamous cell carcinoma of the lung 8;tumor-associated stroma 1;background .3",
    "oral_normal": "esophagus 5;loose connective tissue 1;stroma 1;background 1.5;keratin .5;lymphocytes .3",
    "oral_oscc": "oral squamous cell carcinoma 6;tumor-associated stroma 1.5;background .5;keratin .7;lymphocytes .7",
    "lung_fields": "normal lung tissue 5;background 3;blood 1.5;blood vessel 1;macrophages .5",
    "colon_slide": "normal colonic gland 5;colonic stroma 4;background .7",
}
_LUAD = (
    "tumor epithelium 4;tumor-associated stroma 4;normal lung tissue 1.5;background 1;lymphocytes .4;blood .2;"
    "necrosis .2"
)
_BREAST = "invasive cancer 2;stroma 3;adipose tissue 2;background 1.5;lymphocytes .5;normal breast .3"
_SKIN = "skin 2;dermis 4;background 2;keratin 1;lymphocytes .3;hair follicle .5"
_IMAGE_LEVEL = {
    "ebhi": {
        1: "normal colonic gland 5;" + _COLON,
        2: "hyperplastic polyp 5;" + _COLON,
        3: "low-grade intraepithelial neoplasia 6;" + _COLON,
        4: "high-grade intraepithelial neoplasia 7;" + _COLON,
        5: "serrated adenoma 5;" + _COLON,
        6: "colorectal adenocarcinoma 8;" + _COLON,
    },
    "glas": {1: "normal colonic gland 5;" + _COLON, 2: "colorectal adenocarcinoma 6;" + _COLON},
}
_SIDES = {"ebhi": (190, 224), "glas": (160, 420)}


def sources(data: Path) -> list[Source]:
    """All training sources below ``data``; parts that are absent are left out.

    Raises:
        InputError: Nothing usable is there.
    """
    found: list[Source] = []
    for name, mix in _FOLDERS.items():
        sides = (300, 560) if name == "lung_fields" else (150, 224)
        found.append(Source(name, tuple(sorted((data / "pretrain" / name).glob("*.*"))), _mix(mix), sides))
    luad = tuple(path for path, _ in _split(data / "luad"))
    found.append(Source("luad", luad, _mix(_LUAD), (170, 290)))
    for name, classes in _IMAGE_LEVEL.items():
        rows = _split(data / name)
        for label, mix in classes.items():
            files = tuple(path for path, row in rows if _label(name, path, row) == label)
            found.append(Source(f"{name}_{label}", files, _mix(mix), _SIDES[name]))
    her = data / "her2st"
    found.append(
        Source("her2st", tuple(p for p in (her / "B4.jpg", her / "C2.jpg") if p.exists()), _mix(_BREAST), (200, 450))
    )
    skin = data / "slides" / "cmu-1-small-region.svs"
    found.append(Source("skin", (skin,) if skin.exists() else (), _mix(_SKIN), (220, 480)))
    found = [s for s in found if s.files]
    if not found:
        raise InputError("no training images", where=data, fix="Give the folder with pretrain, luad, ebhi, glas")
    return found


def _split(folder: Path) -> list[tuple[Path, dict[str, str]]]:
    """(image, row of split.csv) of the ``train`` split of a folder dataset."""
    table = folder / "split.csv"
    if not table.exists():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    files = {path.stem: path for path in (folder / "images").iterdir()}
    return [(files[row["image"]], row) for row in rows]


def _label(name: str, path: Path, row: dict[str, str]) -> int:
    """Image-level class: the first digit of the name (ebhi) or the grade in split.csv (glas)."""
    if name == "glas":
        return 2 if row["grade"] == "malignant" else 1
    return int(path.stem[0])


def load(path: Path) -> NDArray[np.uint8]:
    """RGB uint8 [h, w, 3]."""
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def crops(source: Source, count: int, rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """``count`` random tiles uint8 [224, 224, 3] of a source, flipped and scaled at random."""
    large = {path: load(path) for path in source.files} if len(source.files) < 3 else {}
    order = rng.permutation(len(source.files))
    made = 0
    while made < count:
        path = source.files[order[made % len(order)]]
        image = large[path] if path in large else load(path)
        side = min(int(rng.integers(source.sides[0], source.sides[1] + 1)), *image.shape[:2])
        y = int(rng.integers(0, image.shape[0] - side + 1))
        x = int(rng.integers(0, image.shape[1] - side + 1))
        part = image[y : y + side, x : x + side]
        if large and part.mean() > 205 and rng.random() < 0.9:
            continue
        made += 1
        kind = Image.Resampling.BOX if side > TILE else Image.Resampling.BICUBIC
        tile = np.asarray(Image.fromarray(part).resize((TILE, TILE), kind))
        tile = np.rot90(tile, int(rng.integers(4)))
        yield np.ascontiguousarray(tile[:, ::-1] if rng.random() < 0.5 else tile)


def restain(tile: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Another stain and scanner: stain strengths, hue, white point, blur and noise at random.

    Strengths are changed in the haematoxylin-eosin-residual space of Ruifrok and Johnston (2001), as in
    Tellez et al. (2019).
    """
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
    od = -np.log((tile.astype(np.float64) + 1) / 256)
    parts = od @ np.linalg.inv(stains)
    parts = parts * rng.uniform(0.7, 1.35, 3) + rng.normal(0, 0.02, 3)
    turned = stains + rng.normal(0, 0.04, (3, 3))
    rgb = np.exp(-np.clip(parts @ turned, 0, None)) * rng.uniform(0.86, 1.0, 3)
    rgb = np.clip(rgb, 0, 1) ** rng.uniform(0.8, 1.2)
    if rng.random() < 0.4:
        from scipy.ndimage import gaussian_filter

        rgb = gaussian_filter(rgb, (s := rng.uniform(0.3, 1.2), s, 0))
    rgb = rgb + rng.normal(0, rng.uniform(0, 0.02), rgb.shape)
    return (np.clip(rgb, 0, 1) * 255).astype(np.uint8)
