"""What the answers of experts mean to a fit and to a selection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.masks import decode_mask, only_seen
from aczerots.annotation.store.records import AnswerKind
from aczerots.annotation.store.store import ProjectStore
from aczerots.loop.pool import Masks
from aczerots.taxonomy import IGNORE, NO_SEEN, Taxonomy


def drawn_masks(store: ProjectStore, up_to: int, taxonomy: Taxonomy) -> dict[int, NDArray[np.uint8]]:
    """What a fit sees of the answers of rounds 0 to ``up_to``: label ids uint8 [size, size] by position.

    Pixels of unseen classes are IGNORE. Tiles of which an expert says that no seen class is there are NO_SEEN inside
    their box.
    """
    tiles, out = store.rounds.tiles(), {}
    for answer in store.answers.counting(up_to):
        tile = tiles[answer.tile]
        if answer.mask is not None:
            out[answer.tile] = only_seen(decode_mask(answer.mask), taxonomy)
        elif answer.kind is AnswerKind.NO_SEEN_CLASS:
            out[answer.tile] = np.full((tile.size, tile.size), IGNORE, dtype=np.uint8)
            out[answer.tile][tile.inner] = NO_SEEN
    return out


def known_masks(store: ProjectStore) -> dict[int, NDArray[np.uint8]]:
    """Masks of the tiles that need not be asked for again; all IGNORE where an expert could not tell."""
    out, tiles = store.answers.masks(), store.rounds.tiles()
    for answer in store.answers.counting():
        if answer.kind is AnswerKind.CANNOT_TELL:
            size = tiles[answer.tile].size
            out[answer.tile] = np.full((size, size), IGNORE, dtype=np.uint8)
    return dict(sorted(out.items()))


def count_drawn(masks: Masks) -> int:
    """Tiles with at least one drawn pixel."""
    return sum(bool((m < NO_SEEN).any()) for m in masks.values())
