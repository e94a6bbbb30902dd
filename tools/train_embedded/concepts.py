"""Which tissues of the profile table are kinds of another, so that they are not taught as its opposite."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

KINDS: dict[str, tuple[str, ...]] = {
    "tumor epithelium": (
        "tumor nests",
        "invasive cancer",
        "lung tumor epithelium",
        "squamous cell carcinoma of the lung",
        "oral squamous cell carcinoma",
        "colorectal adenocarcinoma",
        "large cell carcinoma",
        "papillary adenocarcinoma",
        "serous carcinoma",
        "cancer in situ",
    ),
    "stroma": ("tumor-associated stroma", "dermis", "colonic stroma", "loose connective tissue", "complex stroma"),
    "lymphocytes": ("lymph node",),
    "normal glands": ("normal colonic gland", "prostate gland", "normal breast"),
    "tumor nests": (
        "tumor epithelium",
        "invasive cancer",
        "squamous cell carcinoma of the lung",
        "large cell carcinoma",
    ),
    "tumor-associated stroma": ("stroma",),
    "invasive cancer": ("tumor epithelium", "tumor nests"),
}
"""General tissue to its kinds; where the kind is seen, the general name is right as well."""

NEAR: tuple[tuple[str, ...], ...] = (
    (
        "tumor epithelium",
        "high-grade intraepithelial neoplasia",
        "small cell carcinoma",
        "basal cell carcinoma",
        "glioblastoma",
        "spindle cell tumor",
    ),
    (
        "stroma",
        "tumor-associated stroma",
        "dermis",
        "colonic stroma",
        "loose connective tissue",
        "complex stroma",
        "edema",
        "blood vessel",
    ),
    ("lymphocytes", "lymph node", "plasma cells", "complex stroma", "neutrophils"),
    ("normal lung tissue", "blood vessel", "macrophages"),
    ("blood", "blood vessel"),
    ("smooth muscle", "blood vessel"),
    ("esophagus", "skin"),
    ("keratin", "fibrin", "bone"),
    ("glioma", "glioblastoma", "brain"),
    ("small cell carcinoma", "basal cell carcinoma", "lymph node"),
    ("normal glands", "hyperplastic polyp"),
)
"""Tissues that may look alike or hold one another: never negatives of each other."""


def relations(names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Relations among concepts.

    Args:
        names: First names of the concepts, c of them.

    Returns:
        Spread float [c, c], rows sum to 1: how the truth of a concept is shared with what it is a kind of; and
        related bool [c, c]: pairs that are no negatives of each other.
    """
    index = {name: i for i, name in enumerate(names)}
    spread = torch.eye(len(names))
    related = torch.zeros(len(names), len(names), dtype=torch.bool)
    for general, kinds in KINDS.items():
        inside = [index[k] for k in kinds if k in index]
        if general in index:
            spread[inside, index[general]] += 0.5
            related[inside, index[general]] = True
            related[index[general], inside] = True
        for i in inside:
            related[i, inside] = True
    for group in NEAR:
        inside = [index[k] for k in group if k in index]
        for i in inside:
            related[i, inside] = True
    related.fill_diagonal_(False)
    return spread / spread.sum(1, keepdim=True), related
