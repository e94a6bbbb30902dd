"""RIPU: where small regions hold many classes and the model is unsure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aczerots.selection.base import PoolView, Selection, take_top
from aczerots.selection.regions import region_sums
from aczerots.selection.uncertainty import entropy

_BLOCK = 64


def impurity_and_uncertainty(
    posterior: NDArray[np.floating], inside: NDArray[np.bool_], radius: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Region impurity and prediction uncertainty of each cell's region (Xie et al., 2022, Sec. 3).

    Impurity is the entropy of the fractions of predicted classes in the region, uncertainty the region's mean entropy
    of the posterior; both are divided by log C. Only cells inside the tile count.

    Args:
        posterior: [b, rows, columns, C].
        inside: [b, rows, columns].
        radius: Of the region, in cells.

    Returns:
        (impurity, uncertainty), [b, rows, columns] each.
    """
    one_hot = np.eye(posterior.shape[-1])[posterior.argmax(axis=-1)] * inside[..., None]
    counts = region_sums(one_hot, radius)
    number = np.maximum(counts.sum(axis=-1), 1.0)
    uncertainty = region_sums((entropy(posterior) * inside)[..., None], radius)[..., 0] / number
    return entropy(counts / number[..., None]).astype(np.float64), uncertainty


class RipuStrategy:
    """Highest mean of region impurity times prediction uncertainty (Xie et al., CVPR 2022).

    The paper asks for the best regions of every image; here whole tiles are drawn, so the score of a tile is the
    mean over its regions.

    Args:
        radius: Of a region, in cells.
    """

    name = "ripu"

    def __init__(self, radius: int = 1) -> None:
        self.radius = radius

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose the tiles of highest mean impurity times uncertainty; ``rng`` is not used."""
        posterior, shape = pool.posterior(), pool.rows_and_columns
        parts = [
            impurity_and_uncertainty(
                posterior[i : i + _BLOCK].reshape(-1, *shape, len(pool.seen)),
                pool.inside[i : i + _BLOCK].reshape(-1, *shape),
                self.radius,
            )
            for i in range(0, len(pool), _BLOCK)
        ]
        impurity, uncertainty = (np.concatenate(x).reshape(pool.inside.shape) for x in zip(*parts, strict=True))
        cells = {"impurity": impurity, "uncertainty": uncertainty, "product": impurity * uncertainty}
        means = {k: pool.tile_mean(v).astype(np.float64) for k, v in cells.items()}
        return take_top(pool, budget, means["product"], means)
