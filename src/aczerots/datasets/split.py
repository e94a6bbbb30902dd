"""Seeded split into pool and test part where a layout brings none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from aczerots.datasets.base import Split

TRAIN_FRACTION = 0.7
"""Fraction of the images (or patients) in the pool."""


def seeded_split(names: Sequence[str], seed: int, patients: Mapping[str, str] | None = None) -> dict[str, Split]:
    """Split of every image: 70/30 by patient where patients are known, else by image.

    The order of the names does not matter. An image without a patient counts as a patient of its own. With two patients
    or more both parts have at least one.
    """
    known = patients or {}
    group = {n: ("patient", known[n]) if known.get(n) else ("image", n) for n in names}
    groups = sorted(set(group.values()))
    order = np.random.default_rng([seed, 0x5B117]).permutation(len(groups))
    train = min(max(math.ceil(TRAIN_FRACTION * len(groups)), 1), max(len(groups) - 1, 1))
    pool = {groups[i] for i in order[:train]}
    return {n: "train" if group[n] in pool else "test" for n in names}
