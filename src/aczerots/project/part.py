"""Some grids of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from aczerots.backbones.base import DenseFeatures
from aczerots.prozs.training_set import FeatureSource


@final
class Part:
    """Some grids of a source, by their places in ``positions``; a source itself.

    Args:
        grids: All grids.
        positions: Those that are in the part.
    """

    def __init__(self, grids: FeatureSource, positions: Sequence[int]) -> None:
        self._grids, self._positions = grids, positions

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self._positions)

    def __getitem__(self, index: Sequence[int]) -> DenseFeatures:
        """DenseFeatures at these places."""
        return self._grids[[self._positions[i] for i in index]]
