"""How well two people agree on the tiles that both of them drew."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aczerots.project.folder import Project


@dataclass(frozen=True)
class Agreement:
    """Agreement of first and second readings on a class, over the pixels of all tiles that were read twice.

    Attributes:
        name: The class.
        tiles: Tiles where at least one of the two drew it.
        dice: 2 |A and B| / (|A| + |B|) (Dice, Ecology 26(3), 1945, 297-302); NaN if nobody drew it.
        kappa: Cohen's kappa of "is this class" (Cohen, Educational and Psychological Measurement 20(1), 1960, 37-46);
            NaN if nobody drew it.
    """

    name: str
    tiles: int
    dice: float
    kappa: float


def agreement(project: Project) -> list[Agreement]:
    """Agreement per seen class; undrawn pixels count as "is not", pixels outside a tile's box do not count."""
    second = project.store.answers.masks(reading=1)
    first, tiles = (project.store.answers.masks(), project.store.rounds.tiles()) if second else ({}, [])
    pairs = [(first[i][tiles[i].inner], second[i][tiles[i].inner]) for i in first if i in second]
    rows = []
    for label in project.taxonomy.seen_ids:
        both = [(a == label, b == label) for a, b in pairs]
        drawn = sum(bool(a.any() or b.any()) for a, b in both)
        # Pixels by (first says so, second says so).
        table = np.zeros((2, 2), dtype=np.int64)
        for a, b in both:
            table += np.bincount(2 * a.ravel().astype(int) + b.ravel(), minlength=4).reshape(2, 2)
        rows.append(Agreement(project.taxonomy.names[label], drawn, *_measures(table)))
    return rows


def _measures(table: np.ndarray) -> tuple[float, float]:
    """(Dice, Cohen's kappa) of counts int64 [2, 2]."""
    rows, columns, total = table.sum(axis=1), table.sum(axis=0), table.sum()
    if rows[1] + columns[1] == 0:
        return math.nan, math.nan
    dice = 2 * table[1, 1] / (rows[1] + columns[1])
    observed, chance = np.trace(table) / total, (rows / total) @ (columns / total)
    kappa = 1.0 if chance == 1 else (observed - chance) / (1 - chance)
    return float(dice), float(kappa)
