"""Drawn tissues beyond the nine of the phantom, with wide ranges, so that words meet pixels they name.

Each painter draws one tissue over a whole tile; a tile then shows two or three tissues in ragged regions. Ranges
are textbook sizes in micrometres and amounts of stain as in :mod:`aczerots.datasets.phantom`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aczerots.datasets.phantom.fields import fractal
from aczerots.datasets.phantom.optics import Stains, scan
from tools.train_embedded import architecture, sheets
from tools.train_embedded.brush import Brush

PAINTERS: dict[str, tuple[Callable[[Brush], Stains], tuple[str, ...]]] = {
    "stroma": (sheets.stroma, ("stroma", "tumor-associated stroma", "dermis")),
    "loose": (sheets.loose, ("loose connective tissue", "edema")),
    "inflamed": (sheets.inflamed, ("complex stroma", "colonic stroma")),
    "muscle": (sheets.muscle, ("smooth muscle",)),
    "spindle": (sheets.spindle_tumor, ("spindle cell tumor",)),
    "lymphoid": (sheets.lymphoid, ("lymphocytes", "lymph node")),
    "plasma": (sheets.plasma, ("plasma cells",)),
    "small_cell": (sheets.small_cell, ("small cell carcinoma", "basal cell carcinoma")),
    "tumor": (sheets.tumor, ("tumor nests", "tumor epithelium", "invasive cancer", "large cell carcinoma")),
    "squamous_cancer": (
        sheets.squamous_cancer,
        ("oral squamous cell carcinoma", "squamous cell carcinoma of the lung"),
    ),
    "squamous": (sheets.squamous, ("esophagus",)),
    "liver": (sheets.liver, ("liver",)),
    "steatosis": (sheets.steatosis, ("steatosis",)),
    "clear": (sheets.clear_cells, ("clear cell renal cell carcinoma",)),
    "foam": (sheets.foam, ("macrophages",)),
    "acini": (sheets.acini, ("pancreas",)),
    "neuropil": (sheets.neuropil, ("brain",)),
    "glioma": (sheets.glioma, ("glioblastoma", "glioma")),
    "mucus": (sheets.mucus, ("mucus",)),
    "keratin": (sheets.keratin, ("keratin",)),
    "hyaline": (sheets.hyaline, ("fibrin", "bone")),
    "cartilage": (sheets.cartilage, ("cartilage",)),
    "necrosis": (sheets.necrosis, ("necrosis",)),
    "neutrophils": (sheets.neutrophils, ("neutrophils",)),
    "blood": (sheets.blood, ("blood",)),
    "fat": (architecture.fat, ("adipose tissue",)),
    "alveoli": (architecture.alveoli, ("normal lung tissue",)),
    "malignant_glands": (
        architecture.malignant_glands,
        ("colorectal adenocarcinoma", "lung tumor epithelium", "high-grade intraepithelial neoplasia"),
    ),
    "crypts": (architecture.colon_crypts, ("normal colonic gland", "normal glands")),
    "open_glands": (architecture.open_glands, ("prostate gland", "normal breast", "normal glands")),
    "papillae": (architecture.papillae, ("papillary adenocarcinoma", "serous carcinoma")),
    "glass": (sheets.glass, ("background",)),
}
"""Painter and the names in the profile table that fit what it draws."""


def tile(rng: np.random.Generator, size: int = 224) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """One drawn tile of one to three tissues.

    Returns:
        RGB uint8 [size, size, 3] and painter number (order of :data:`PAINTERS`) [size, size].
    """
    brush = Brush(rng, (size, size), 1 / float(rng.uniform(0.4, 1.0)))
    count = int(rng.choice([1, 2, 3], p=[0.25, 0.5, 0.25]))
    chosen = rng.choice(len(PAINTERS), count, replace=False)
    fields = np.stack([fractal(rng, brush.shape, float(rng.uniform(60, 120))) for _ in chosen])
    labels = chosen[fields.argmax(0)]
    total = brush.stains(0.0, 0.0)
    painters = list(PAINTERS.values())
    for number in np.unique(labels):
        painted = painters[number][0](brush)
        inside = labels == number
        for name in ("hematoxylin", "eosin", "hemoglobin"):
            getattr(total, name)[inside] = getattr(painted, name)[inside]
    return scan(rng, total), labels
