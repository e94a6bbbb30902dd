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
"""Fraction of a tile below which a class is too small a speck to be judged."""


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
    """For each unseen class, the ``most`` tiles of the newest round that show most of it, largest fraction first."""
    newest = store.rounds.newest()
    drafts = {} if newest is None else store.rounds.drafts(p.tile for p in store.rounds.picks(newest.number))
    found: dict[int, list[Sighting]] = {label: [] for label in taxonomy.unseen_ids}
    for position, draft in drafts.items():
        mask = decode_mask(draft.mask)
        for label, sightings in found.items():
            fraction = float(np.mean(mask[pool[position].inner] == label))
            if fraction >= LEAST:
                sightings.append(Sighting(position, label, fraction, draft.model, mask))
    return [s for some in found.values() for s in sorted(some, key=lambda s: (-s.fraction, s.position))[:most]]
