"""What a strategy sees (the pool) and what it returns (a selection)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import SettingsError

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Pool:
    """All tiles of the pool as the current model sees them, on a grid of m cells per tile.

    Attributes:
        features: Pixel features phi of the cells, float16 or float32 [n, m, d_p].
        scores: Class scores (logits) of the cells, float32 [n, m, C].
        inside: Bool [n, m]: cells that belong to the tile; the others are context and never count.
        labelled: Bool [n]: tiles already annotated.
        seen: Bool [C].
        vectors: Class vectors v_c, float32 [C, d_p].
        cost: What annotating a tile costs, float32 [n], for example its area; only ratios matter.
    """

    features: NDArray[np.floating]
    scores: Floats
    inside: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    vectors: Floats
    cost: Floats

    def __len__(self) -> int:
        """Number of tiles n."""
        return len(self.labelled)

    @property
    def candidates(self) -> NDArray[np.intp]:
        """Positions of the tiles without annotation, ascending."""
        return np.flatnonzero(~self.labelled)

    def posterior(self) -> Floats:
        """Softmax of the scores, float32 [n, m, C]."""
        z = self.scores - self.scores.max(axis=-1, keepdims=True)
        e = np.exp(z)
        out: Floats = e / e.sum(axis=-1, keepdims=True)
        return out

    def tile_mean(self, cells: NDArray[np.floating]) -> NDArray[np.float32]:
        """Mean over the cells inside each tile of values [n, m] or [n, m, k]."""
        weight = self.inside / np.maximum(self.inside.sum(axis=1, keepdims=True), 1)
        mean: NDArray[np.float32] = np.einsum("nm...,nm->n...", cells, weight).astype(np.float32)
        return mean


@dataclass(frozen=True)
class Selection:
    """The tiles to draw next.

    Attributes:
        tiles: Positions in the pool, best first.
        score: What they were ranked by, float [len(tiles)].
        utilities: Every score component for every tile of the pool, float [n] each; NaN for labelled tiles.
        components: Every score component of the chosen tiles at the moment they were chosen.
    """

    tiles: NDArray[np.intp]
    score: NDArray[np.float64]
    utilities: Mapping[str, NDArray[np.float64]]
    components: Mapping[str, NDArray[np.float64]]


@runtime_checkable
class Strategy(Protocol):
    """Chooses tiles. Implementations are final and hold settings only, no state between calls."""

    @property
    def name(self) -> str:
        """Name for tables and the command line."""

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Choose min(budget, candidates) tiles; the same pool and generator state give the same answer."""


def min_max(values: NDArray[np.floating], over: NDArray[np.intp]) -> NDArray[np.float64]:
    """Values scaled so that those at ``over`` span 0..1; constant values become 0.

    Args:
        values: Float [n].
        over: Positions that define the range.
    """
    if len(over) == 0:
        return np.zeros(len(values))
    part = values[over].astype(np.float64)
    low, high = part.min(), part.max()
    if high - low < 1e-12:
        return np.zeros(len(values))
    scaled: NDArray[np.float64] = (values.astype(np.float64) - low) / (high - low)
    return scaled


def take_top(
    pool: Pool, budget: int, score: NDArray[np.float64], utilities: dict[str, NDArray[np.float64]]
) -> Selection:
    """The selection of the highest scores; ties go to the lower position.

    Args:
        pool: The pool.
        budget: How many at most.
        score: Float [n].
        utilities: Components, float [n] each.
    """
    candidates = pool.candidates
    order = candidates[np.argsort(-score[candidates], kind="stable")][:budget]
    hidden = {k: np.where(pool.labelled, np.nan, v) for k, v in utilities.items()}
    return Selection(order, score[order], hidden, {k: v[order] for k, v in hidden.items()})


def check_budget(budget: int) -> None:
    """Refuse a budget below 1.

    Raises:
        SettingsError: Always then.
    """
    if budget < 1:
        raise SettingsError(f"budget {budget} asks for no tile", fix="Ask for at least one")
