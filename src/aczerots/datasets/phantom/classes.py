"""The nine tissue classes of the phantom."""

from __future__ import annotations

from enum import IntEnum

from aczerots.taxonomy import Taxonomy, TissueClass


class Tissue(IntEnum):
    """Label ids of the phantom."""

    TUMOR = 0
    STROMA = 1
    LYMPHOCYTES = 2
    NECROSIS = 3
    FAT = 4
    GLANDS = 5
    MUSCLE = 6
    BLOOD = 7
    BACKGROUND = 8


_COLORS = {
    "tumor nests": (200, 40, 40),
    "fibrous stroma": (90, 160, 70),
    "lymphocyte aggregates": (60, 60, 190),
    "necrosis": (110, 90, 80),
    "adipose tissue": (240, 200, 60),
    "normal glands": (60, 190, 190),
    "smooth muscle": (230, 130, 190),
    "blood": (130, 10, 60),
    "background": (225, 225, 225),
}


def phantom_taxonomy() -> Taxonomy:
    """The nine classes in the order of :class:`Tissue`, all seen."""
    return Taxonomy(classes=tuple(TissueClass(name=n, color=c) for n, c in _COLORS.items()))
