"""Label masks as run lengths: short in JSON, exact, and checked at the border."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import InputError
from aczerots.taxonomy import IGNORE, Taxonomy


def encode_runs(mask: NDArray[np.uint8]) -> list[int]:
    """A mask uint8 [h, w] as ``[label, count, label, count, ...]`` in row-major order."""
    flat = mask.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=flat[0] ^ 1))
    counts = np.diff(np.append(starts, flat.size))
    return [int(v) for v in np.stack([flat[starts], counts], axis=1).ravel()]


def decode_runs(runs: Sequence[int], size: int) -> NDArray[np.uint8]:
    """The mask uint8 [size, size] of its run lengths.

    Raises:
        InputError: An odd number of entries, a label outside 0..255, or counts that do not add up.
    """
    if len(runs) % 2 or len(runs) > 2 * size * size:
        raise InputError("the mask is no list of label and count pairs", where="mask")
    labels, counts = runs[::2], runs[1::2]
    if any(not 0 <= label <= 255 for label in labels) or any(count < 1 for count in counts):
        raise InputError("the mask has a label outside 0..255 or an empty run", where="mask")
    if sum(counts) != size * size:
        raise InputError(f"the mask has {sum(counts)} pixels, the tile has {size * size}", where="mask")
    return np.repeat(np.array(labels, dtype=np.uint8), counts).reshape(size, size)


def check_drawable(mask: NDArray[np.uint8], taxonomy: Taxonomy) -> None:
    """Only seen classes can be drawn.

    Raises:
        InputError: The mask uint8 [h, w] holds another id.
    """
    wrong = sorted(set(np.unique(mask).tolist()) - {*taxonomy.seen_ids, IGNORE})
    if wrong:
        named = taxonomy.names[wrong[0]] if wrong[0] < len(taxonomy) else "no class"
        raise InputError(f"id {wrong[0]} ({named}) cannot be drawn", where="mask", fix="Draw seen classes only")
