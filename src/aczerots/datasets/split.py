"""Seeded split into pool and test part where a layout brings none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from aczerots.datasets.base import Split

TRAIN_FRACTION = 0.7
"""Fraction of the images (or patients) in the pool."""


def seeded_split(names: Sequence[str], seed: int, patients: Mapping[str, str] | None = None) -> dict[str, Split]:
    """Split 70/30 by patient where patients are known, else by image.

    Args:
        names: Image names; their order does not matter.
        seed: The same seed gives the same split.
        patients: Patient of an image; an image without one counts as a patient of its own.

    Returns:
        Split of every image. With two groups or more both parts have at least one.
    """
    known = patients or {}
    group = {n: ("patient", known[n]) if known.get(n) else ("image", n) for n in names}
    groups = sorted(set(group.values()))
    order = np.random.default_rng([seed, 0x5B117]).permutation(len(groups))
    train = min(max(math.ceil(TRAIN_FRACTION * len(groups)), 1), max(len(groups) - 1, 1))
    pool = {groups[i] for i in order[:train]}
    return {n: "train" if group[n] in pool else "test" for n in names}
