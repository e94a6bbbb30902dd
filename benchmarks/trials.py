"""What the ablations share: parts of a dataset, fits to tiles that only the seed chooses, t-intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from aczerots.backbones.base import Backbone
from aczerots.config import cache_folder
from aczerots.datasets.base import Dataset
from aczerots.datasets.locate import locate_dataset
from aczerots.engine.progress import Silent
from aczerots.evaluate import Metrics
from aczerots.loop.workbench import TileSet, Workbench, check_truth, embed_split
from aczerots.prozs.presets import Preset
from aczerots.taxonomy import Taxonomy
from aczerots.text.prototypes import text_prototypes

TILE = 224


def open_parts(locator: str, backbone: Backbone) -> tuple[Dataset, TileSet, TileSet]:
    """A dataset with its embedded pool and test part."""
    dataset = locate_dataset(locator)
    check_truth(dataset, ("train", "test"))
    pool, test = (embed_split(dataset, split, TILE, backbone, cache_folder(), Silent()) for split in ("train", "test"))
    return dataset, pool, test


def open_bench(parts: tuple[Dataset, TileSet, TileSet], taxonomy: Taxonomy, backbone: Backbone) -> Workbench:
    """A workbench for these classes and their words."""
    dataset, pool, test = parts
    return Workbench(dataset, taxonomy, backbone, text_prototypes(backbone, taxonomy).cpu(), pool, test, "cpu")


def fit_once(bench: Workbench, preset: Preset, share: float, seed: int) -> Metrics:
    """Metrics after a fit to tiles that only the seed and the share choose."""
    count = len(bench.pool.tiles)
    drawn = np.random.default_rng([seed, count]).permutation(count)[: max(1, round(share * count))]
    annotations = {int(i): bench.expert(int(i)) for i in sorted(drawn)}
    return bench.evaluate(bench.fitted(preset, annotations, seed), Silent())


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half width of its 95 % t-interval; the latter is NaN for fewer than two values."""
    x = np.asarray(values, dtype=float)
    if len(x) < 2:
        return float(x.mean()), float("nan")
    return float(x.mean()), float(stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))


def plain(values: Sequence[float]) -> str:
    """Mean and half width as text."""
    mean, half = interval(values)
    return f"{mean:.3f}" if np.isnan(half) else f"{mean:.3f} ± {half:.3f}"


def signed(values: Sequence[float], others: Sequence[float]) -> str:
    """Paired difference as text, bold where its interval leaves out zero."""
    mean, half = interval([a - b for a, b in zip(values, others, strict=True)])
    text = f"{mean:+.3f}" if np.isnan(half) else f"{mean:+.3f} ± {half:.3f}"
    return f"**{text}**" if abs(mean) > half else text
