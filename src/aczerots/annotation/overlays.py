"""Where the newest drafts show unseen classes, which only an expert's eye can judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.masks import decode_mask
from aczerots.annotation.store.store import ProjectStore
from aczerots.slides.base import Tile
from aczerots.taxonomy import Taxonomy

LEAST = 0.005
"""Fraction of a tile below which a class is too small to judge."""


@dataclass(frozen=True)
class Sighting:
    """A tile whose draft shows an unseen class.

    Attributes:
        position: Its place in the pool.
        label: The class.
        fraction: Fraction of the tile.
        model: What made the draft.
        mask: The draft, label ids uint8 [size, size].
    """

    position: int
    label: int
    fraction: float
    model: str
    mask: NDArray[np.uint8]


def find_unseen(store: ProjectStore, pool: Sequence[Tile], taxonomy: Taxonomy, most: int) -> list[Sighting]:
    """Tiles of the newest round that show most of each unseen class.

    Args:
        store: The project's database.
        pool: Its tiles.
        taxonomy: Its classes.
        most: Tiles per class.

    Returns:
        By class, most of it first.
    """
    newest = store.rounds.newest()
    drafts = {} if newest is None else store.rounds.drafts(p.tile for p in store.rounds.picks(newest.number))
    found: list[Sighting] = []
    for position, draft in drafts.items():
        mask = decode_mask(draft.mask)
        inside = mask[pool[position].inner]
        for label in taxonomy.unseen_ids:
            fraction = float(np.mean(inside == label))
            if fraction >= LEAST:
                found.append(Sighting(position, label, fraction, draft.model, mask))
    found.sort(key=lambda s: (s.label, -s.fraction, s.position))
    return [s for label in taxonomy.unseen_ids for s in [f for f in found if f.label == label][:most]]
