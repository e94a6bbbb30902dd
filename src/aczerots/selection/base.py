"""What a strategy sees (the pool) and what it returns (a selection)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import SettingsError
from aczerots.selection.limits import Allowance, Limit
from aczerots.taxonomy import IGNORE

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]
_BLOCK = 1024


@dataclass(frozen=True)
class PoolView:
    """All tiles of the pool as the current model sees them, on m feature cells per tile.

    Features and scores of a large pool may be memory maps: strategies for large pools read them by blocks.

    Attributes:
        features: Features phi of the cells, float16 or float32 [n, m, d_p].
        scores: Class scores (logits) of the cells, float32 or float16 [n, m, C].
        inside: Bool [n, m]: cells that belong to the tile; the others are context and never count.
        labelled: Bool [n]: tiles already annotated.
        seen: Bool [C].
        vectors: Class vectors v_c, float32 [C, d_p].
        cost: Expected annotation cost of each tile, float32 [n]; only ratios matter.
        keys: Int64 [n], distinct; identify tiles in whatever order they stand. Chance and ties go by key, so that the
            order of the pool does not matter. None takes the positions.
        grid: (rows, columns) of the cells, row by row; None takes a square, or one row where m is no square.
        labels: What experts drew, by cell: label ids uint8 [n, m], IGNORE where nothing is drawn. None where this is
            not known.
        samples: Gives MC-dropout posteriors float32 [n, m, C], the same ones at every call; computed only for
            strategies that ask. None where the model has no dropout.
        limits: Maximum numbers of tiles per slide or patient; tiles that are labelled already do not count.
    """

    features: NDArray[np.floating]
    scores: NDArray[np.floating]
    inside: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    vectors: Floats
    cost: Floats
    keys: NDArray[np.int64] | None = None
    grid: tuple[int, int] | None = None
    labels: Labels | None = None
    samples: Callable[[], Iterable[Floats]] | None = None
    limits: tuple[Limit, ...] = ()

    def __len__(self) -> int:
        """Number of tiles n."""
        return len(self.labelled)

    @property
    def candidates(self) -> NDArray[np.intp]:
        """Positions of the tiles without annotation, ascending."""
        return np.flatnonzero(~self.labelled)

    def allowance(self) -> Allowance:
        """The tiles that may be chosen at the start of a selection."""
        return Allowance(self.labelled, self.limits)

    @property
    def rank(self) -> NDArray[np.intp]:
        """Rank of each tile's key among all keys, [n]."""
        if self.keys is None:
            return np.arange(len(self))
        out = np.empty(len(self), dtype=np.intp)
        out[np.argsort(self.keys)] = np.arange(len(self))
        return out

    @property
    def rows_and_columns(self) -> tuple[int, int]:
        """Rows and columns in which the cells of a tile lie."""
        cells = self.inside.shape[1]
        side = math.isqrt(cells)
        return self.grid or ((side, side) if side * side == cells else (1, cells))

    def posterior(self) -> Floats:
        """Softmax of the scores, float32 [n, m, C]."""
        out = np.empty(self.scores.shape, dtype=np.float32)
        for i in range(0, len(self), _BLOCK):
            out[i : i + _BLOCK] = softmax(self.scores[i : i + _BLOCK].astype(np.float32))
        return out

    def dropout_posteriors(self) -> Iterable[Floats]:
        """MC-dropout posteriors float32 [n, m, C]; the plain posterior alone if there are none."""
        return [self.posterior()] if self.samples is None else self.samples()

    def known_labels(self) -> Labels:
        """Label ids of the cells, uint8 [n, m]; IGNORE outside the tiles and where nothing is drawn."""
        if self.labels is None:
            return np.full(self.inside.shape, IGNORE, dtype=np.uint8)
        return np.where(self.inside & self.labelled[:, None], self.labels, np.uint8(IGNORE))

    def draw(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A number between 0 and 1 for each tile [n], the same for a key wherever its tile stands."""
        return rng.random(len(self))[self.rank]

    def tile_features(self) -> Floats:
        """Mean feature of the cells inside each tile, float32 [n, d_p]."""
        out = np.empty((len(self), self.features.shape[-1]), dtype=np.float32)
        for part, weight in self._weights():
            np.matmul(weight.astype(np.float32)[:, None], self.features[part].astype(np.float32), out=out[part, None])
        return out

    def tile_mean(self, cells: NDArray[np.floating]) -> NDArray[np.float32]:
        """Mean over the cells inside each tile of values [n, m] or [n, m, k]."""
        out = np.empty((len(self), *cells.shape[2:]), dtype=np.float32)
        for part, weight in self._weights():
            out[part] = np.einsum("nm...,nm->n...", cells[part], weight)
        return out

    def _weights(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """(some tiles, weights of their cells in a mean over those inside, [b, m]) until all tiles are through."""
        for i in range(0, len(self), _BLOCK):
            inside = self.inside[i : i + _BLOCK]
            yield slice(i, i + _BLOCK), inside / np.maximum(inside.sum(axis=1, keepdims=True), 1)


@dataclass(frozen=True)
class Selection:
    """The tiles to draw next.

    Attributes:
        tiles: Positions in the pool, best first.
        score: What they were ranked by, float [len(tiles)].
        utilities: Every score component of every tile of the pool, float [n] each; NaN for labelled tiles.
        components: The same of the chosen tiles, at the moment each was chosen, float [len(tiles)] each.
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

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Choose min(budget, candidates) tiles, fewer if the limits allow no more.

        The same pool and generator state give the same answer.
        """


def softmax(scores: NDArray[np.floating]) -> Floats:
    """Softmax over the last axis."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def min_max(values: NDArray[np.floating], over: NDArray[np.intp]) -> NDArray[np.float64]:
    """Values [n] scaled so that those at the positions ``over`` span 0..1; constant values become 0."""
    wide = values.astype(np.float64)
    low, high = wide[over].min(initial=np.inf), wide[over].max(initial=-np.inf)
    return np.zeros(len(values)) if high - low < 1e-12 else np.asarray((wide - low) / (high - low))


def take_top(
    pool: PoolView, budget: int, score: NDArray[np.float64], utilities: dict[str, NDArray[np.float64]]
) -> Selection:
    """The ``budget`` tiles of the highest score [n]; ties go to the lower key. Utilities are components [n].

    Raises:
        SettingsError: A budget below 1.
    """
    check_budget(budget)
    candidates = pool.candidates
    order = candidates[np.lexsort((pool.rank[candidates], -score[candidates]))]
    order = pool.allowance().take_in_order(order, budget)
    return report(pool, order, score[order], utilities)


def report(
    pool: PoolView, tiles: NDArray[np.intp], score: NDArray[np.float64], utilities: Mapping[str, NDArray[np.float64]]
) -> Selection:
    """The selection of ``tiles`` with their score; its components are the utilities [n] of the whole pool."""
    hidden = {k: np.where(pool.labelled, np.nan, v) for k, v in utilities.items()}
    return Selection(tiles, score, hidden, {k: v[tiles] for k, v in hidden.items()})


def check_budget(budget: int) -> None:
    """Raise a SettingsError for a budget below 1."""
    if budget < 1:
        raise SettingsError(f"budget {budget} asks for no tile", fix="Ask for at least one")


def choose(strategy: Strategy, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
    """What a strategy selects, checked against the limits, which strategies of other packages may ignore.

    Raises:
        SettingsError: The selection breaks a limit, or the budget is below 1.
    """
    selection = strategy.select(pool, budget, rng)
    if not all(limit.kept(selection.tiles) for limit in pool.limits):
        fix = "Choose another strategy, or no limit per slide and per patient"
        raise SettingsError(f"strategy '{strategy.name}' does not keep to the limits", where="--strategy", fix=fix)
    return selection
