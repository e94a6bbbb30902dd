"""Scores with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aczerots.taxonomy import IGNORE

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Score:
    """A value and its 95 % interval over resampled images."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """``0.512 [0.480, 0.541]``."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def confusion(truth: NDArray[np.integer], answer: NDArray[np.integer], classes: int) -> Counts:
    """Counts [classes, classes], rows are the truth; IGNORE is left out."""
    known = truth != IGNORE
    pairs = truth[known].astype(np.int64) * classes + answer[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def iou(counts: Counts) -> NDArray[np.float64]:
    """Intersection over union per class, NaN for a class that neither occurs nor is answered."""
    hit = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - hit
    return np.where(union > 0, hit / np.maximum(union, 1), np.nan)


def mean_iou(counts: Counts) -> float:
    """Mean over the classes that occur in the truth."""
    return float(np.mean(iou(counts)[counts.sum(1) > 0]))


def balanced_accuracy(counts: Counts) -> float:
    """Mean recall of the classes that occur in the truth."""
    total = counts.sum(1)
    return float(np.mean(np.diag(counts)[total > 0] / total[total > 0]))


def bootstrap(counts: Counts, measure: Callable[[Counts], float], draws: int = 300, seed: int = 0) -> Score:
    """A measure of summed counts [images, c, c] with its percentile interval (Efron 1979) over images."""
    rng = np.random.default_rng(seed)
    n = len(counts)
    values = [measure(counts[rng.integers(0, n, n)].sum(0)) for _ in range(draws)]
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return Score(measure(counts.sum(0)), float(low), float(high))
