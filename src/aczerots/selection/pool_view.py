"""The pool as the current model sees it: what strategies select from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from aczerots.backbones.base import DenseFeatures
from aczerots.backbones.cache import FeatureStore
from aczerots.prozs.losses import soft_targets
from aczerots.prozs.model import ProZS
from aczerots.selection.annotation_cost import annotation_cost
from aczerots.selection.base import PoolView
from aczerots.slides.base import Tile
from aczerots.storage.files import scratch_array
from aczerots.taxonomy import IGNORE, Taxonomy

DROPOUT_STATES = 8
_BATCH = 8
_HELD = 2**30
"""Bytes of features of a pool that are held in memory if they may be on disk."""


@torch.no_grad()
def view_pool(
    model: ProZS,
    source: FeatureStore,
    tiles: Sequence[Tile],
    drawn: Mapping[int, NDArray[np.uint8]],
    taxonomy: Taxonomy,
    *,
    scratch: Path | None = None,
) -> PoolView:
    """The pool as ``model`` sees it, on the backbone's feature grid.

    Args:
        model: The current model.
        source: Dense features of ``tiles``.
        tiles: The pool.
        drawn: Label masks uint8 [size, size] of the annotated tiles by position.
        taxonomy: The classes.
        scratch: Folder for what is too large for memory, kept as long as the pool; None holds everything in memory.

    Raises:
        StorageError: The disk is too full for it.
    """
    features, scores, inside = np.empty(0), np.empty(0), np.empty(0, dtype=bool)
    cost = np.empty(len(tiles), dtype=np.float32)
    cells, done = (0, 0), 0
    for part in _batches(model, source):
        phi = model.features(part)
        if not done:
            cells = part.aligned.shape[2], part.aligned.shape[3]
            shape = len(tiles), cells[0] * cells[1], phi.shape[1]
            large = 2 * math.prod(shape) > _HELD
            features = scratch_array(shape, "float16", scratch if large else None)
            scores = scratch_array((*shape[:2], len(taxonomy)), "float32", scratch if large else None)
            inside = np.stack([_inside(t, *cells) for t in tiles])
        rows = slice(done, done + len(phi))
        # A decoder may work at full resolution; selection does not need it.
        features[rows] = F.adaptive_avg_pool2d(phi, cells).flatten(2).movedim(1, -1).half().cpu().numpy()
        scores[rows] = F.adaptive_avg_pool2d(model.scores(phi), cells).flatten(2).movedim(1, -1).cpu().numpy()
        grid = (len(phi), *cells)
        winners = scores[rows].argmax(axis=-1).reshape(grid)
        cost[rows] = annotation_cost(winners, inside[rows].reshape(grid), taxonomy.seen)
        done = rows.stop
    labelled = np.zeros(len(tiles), dtype=bool)
    labelled[list(drawn)] = True
    return PoolView(
        features=features,
        scores=scores,
        inside=inside,
        labelled=labelled,
        seen=taxonomy.seen,
        vectors=model.projection(model.text).cpu().numpy(),
        cost=cost,
        grid=cells,
        labels=_cell_labels(drawn, len(tiles), len(taxonomy), cells),
        samples=lambda: dropout_posteriors(model, source),
    )


@torch.no_grad()
def changed_fraction(before: ProZS, after: ProZS, features: FeatureStore, tiles: Sequence[Tile]) -> float:
    """Fraction of the feature cells inside the tiles whose class differs between two models."""
    changed = inside = start = 0
    for part in _batches(before, features):
        cells = part.aligned.shape[2], part.aligned.shape[3]
        first, second = (F.adaptive_avg_pool2d(m(part), cells).flatten(2).argmax(dim=1).cpu() for m in (before, after))
        own = np.stack([_inside(t, *cells) for t in tiles[start : start + len(first)]])
        changed += int((first != second).numpy()[own].sum())
        inside += int(own.sum())
        start += len(first)
    return changed / inside


def _batches(model: ProZS, features: FeatureStore) -> Iterator[DenseFeatures]:
    """All features in their order, a few at a time, where the model is."""
    for start in range(0, len(features), _BATCH):
        yield features[list(range(start, min(start + _BATCH, len(features))))].to(model.text.device)


def _cell_labels(
    drawn: Mapping[int, NDArray[np.uint8]], tiles: int, classes: int, cells: tuple[int, int]
) -> NDArray[np.uint8]:
    """Label id with the most pixels in each cell, uint8 [tiles, m]; IGNORE where less than half of it is drawn."""
    out = np.full((tiles, cells[0] * cells[1]), IGNORE, dtype=np.uint8)
    for position, mask in drawn.items():
        mass = soft_targets(torch.from_numpy(mask)[None], classes, cells)[0].flatten(1)
        label = mass.argmax(dim=0).to(torch.uint8).numpy()
        out[position] = np.where(mass.sum(dim=0).numpy() >= 0.5, label, IGNORE)
    return out


@torch.no_grad()
def dropout_posteriors(
    model: ProZS, features: FeatureStore, number: int = DROPOUT_STATES, seed: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Class posteriors float32 [n, m, C] of the pool, one array per dropout state (Gal and Ghahramani, 2016).

    They lie on the backbone's grid; a model without dropout gives equal arrays. ``seed`` is that of the dropout masks.
    """
    switched = [m for m in model.modules() if isinstance(m, torch.nn.Dropout2d)]
    for state in range(number):
        parts = []
        with torch.random.fork_rng():
            torch.manual_seed(seed * number + state)
            for module in switched:
                module.train()
            try:
                for part in _batches(model, features):
                    cells = part.aligned.shape[2], part.aligned.shape[3]
                    pooled = F.adaptive_avg_pool2d(model(part), cells).softmax(dim=1)
                    parts.append(pooled.flatten(2).movedim(1, -1).cpu().numpy())
            finally:
                for module in switched:
                    module.eval()
        yield np.concatenate(parts)


def _inside(tile: Tile, gh: int, gw: int) -> NDArray[np.bool_]:
    """Bool [gh * gw]: cells whose centre lies in the tile's box; at least one."""
    rows, columns = tile.inner
    y = (np.arange(gh) + 0.5) * tile.size / gh
    x = (np.arange(gw) + 0.5) * tile.size / gw
    inside = ((y >= rows.start) & (y < rows.stop))[:, None] & ((x >= columns.start) & (x < columns.stop))
    if not inside.any():
        middle = (
            (rows.start + rows.stop) * gh // (2 * tile.size),
            (columns.start + columns.stop) * gw // (2 * tile.size),
        )
        inside[min(middle[0], gh - 1), min(middle[1], gw - 1)] = True
    flat: NDArray[np.bool_] = inside.ravel()
    return flat
