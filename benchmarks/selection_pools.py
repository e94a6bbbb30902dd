"""Pools of any size for timing selection: arrays on disk, written by blocks, opened as memory maps.

Tiles lie around modes of unequal frequency, as tissue does; the cells of a tile mostly share its mode. Nothing is
learned from these pools but times, memory and the value of an objective.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aczerots.selection.base import PoolView

CELLS, DIM, CLASSES, MODES = 16, 128, 6, 300
DRAWN = 100
_BLOCK = 8192


def write_pool(folder: Path, tiles: int, seed: int = 0) -> Path:
    """Write the arrays of a pool of so many tiles, unless they are there."""
    place = folder / f"pool-{tiles}-{seed}"
    if (place / "done").exists():
        return place
    place.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    modes = rng.normal(size=(MODES, DIM)).astype(np.float32)
    weight = 1.0 / np.arange(1, MODES + 1)
    weight /= weight.sum()
    noise = rng.normal(size=(4096, DIM)).astype(np.float32)
    vectors = rng.normal(size=(CLASSES, DIM)).astype(np.float32) / np.sqrt(DIM)
    features = _open(place / "features.npy", (tiles, CELLS, DIM))
    scores = _open(place / "scores.npy", (tiles, CELLS, CLASSES))
    for i in range(0, tiles, _BLOCK):
        b = min(_BLOCK, tiles - i)
        own = rng.choice(MODES, (b, 1), p=weight)
        mode = np.where(rng.random((b, CELLS)) < 0.8, own, rng.choice(MODES, (b, CELLS), p=weight))
        tile = 0.5 * rng.normal(size=(b, 1, DIM)).astype(np.float32)
        cells = modes[mode] + tile + 0.5 * noise[rng.integers(0, len(noise), (b, CELLS))]
        cells /= np.linalg.norm(cells, axis=-1, keepdims=True)
        features[i : i + b] = cells
        scores[i : i + b] = 20.0 * cells @ vectors.T
    features.flush()
    scores.flush()
    np.save(place / "vectors.npy", vectors)
    (place / "done").touch()
    return place


def _open(path: Path, shape: tuple[int, ...]) -> np.memmap:
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)


def open_pool(place: Path) -> PoolView:
    """The pool in a folder; 100 of its tiles are drawn, and the last class is unseen."""
    features, scores = (np.load(place / f"{name}.npy", mmap_mode="r") for name in ("features", "scores"))
    tiles = len(features)
    labelled = np.zeros(tiles, dtype=bool)
    labelled[np.random.default_rng(1).choice(tiles, min(DRAWN, tiles // 10), replace=False)] = True
    return PoolView(
        features=features,
        scores=scores,
        inside=np.ones((tiles, CELLS), dtype=bool),
        labelled=labelled,
        seen=np.arange(CLASSES) < CLASSES - 1,
        vectors=np.load(place / "vectors.npy"),
        cost=np.ones(tiles, dtype=np.float32),
    )


def tile_points(place: Path) -> np.ndarray:
    """Centred unit features of the tiles, float32 [n, 128]: what all contestants get."""
    mean = open_pool(place).tile_features()
    mean -= mean.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True))


def pool_of_points(points: np.ndarray) -> PoolView:
    """A pool with one cell per tile [n, d], nothing drawn and no opinion on classes."""
    tiles = len(points)
    return PoolView(
        features=points[:, None],
        scores=np.zeros((tiles, 1, 2), dtype=np.float32),
        inside=np.ones((tiles, 1), dtype=bool),
        labelled=np.zeros(tiles, dtype=bool),
        seen=np.array([True, False]),
        vectors=np.zeros((2, points.shape[1]), dtype=np.float32),
        cost=np.ones(tiles, dtype=np.float32),
    )
