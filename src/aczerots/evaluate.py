"""Metrics from one confusion matrix. Pixels labelled IGNORE never count."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aczerots.taxonomy import Taxonomy


def harmonic_mean(seen: float, unseen: float) -> float:
    """Harmonic IoU: 2SU / (S + U); 0 where both are 0, the other one where one is undefined (NaN)."""
    if math.isnan(seen) or math.isnan(unseen):
        return unseen if math.isnan(seen) else seen
    return 0.0 if seen + unseen == 0 else 2 * seen * unseen / (seen + unseen)


@dataclass(frozen=True)
class Metrics:
    """Results of one evaluation; fractions between 0 and 1, NaN where undefined.

    Attributes:
        pacc: Fraction of the counted pixels that are right.
        iou: Intersection over union per class; NaN for a class in neither truth nor prediction.
        dice: 2I / (I + U) per class, likewise.
        miou_seen: Mean IoU of the seen classes.
        miou_unseen: Mean IoU of the unseen classes; NaN if there are none.
        hiou: Harmonic mean of both; that of the seen classes alone if no class is unseen.
    """

    pacc: float
    iou: tuple[float, ...]
    dice: tuple[float, ...]
    miou_seen: float
    miou_unseen: float
    hiou: float

    def row(self, taxonomy: Taxonomy) -> dict[str, float]:
        """Columns of ``metrics.csv``."""
        head = {
            "pacc": self.pacc,
            "miou_seen": self.miou_seen,
            "miou_unseen": self.miou_unseen,
            "hiou": self.hiou,
        }
        return head | {f"iou:{n}": v for n, v in zip(taxonomy.names, self.iou, strict=True)}


class ConfusionMatrix:
    """Counts pixels by truth and prediction.

    Args:
        classes: Number of classes C.
    """

    def __init__(self, classes: int) -> None:
        self.counts: NDArray[np.int64] = np.zeros((classes, classes), dtype=np.int64)
        self.missed: NDArray[np.int64] = np.zeros(classes, dtype=np.int64)

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Count label maps of one shape; pixels whose truth is no class (IGNORE) are left out.

        Args:
            truth: Label ids, any shape.
            predicted: Label ids below C, the same shape; a pixel that has no class (IGNORE) is wrong.
        """
        classes = len(self.counts)
        known, given = truth < classes, predicted < classes
        pairs = truth[known & given].astype(np.int64) * classes + predicted[known & given]
        self.counts += np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
        self.missed += np.bincount(truth[known & ~given], minlength=classes)

    def metrics(self, taxonomy: Taxonomy) -> Metrics:
        """Metrics of everything counted so far."""
        hit = np.diag(self.counts).astype(float)
        truth, predicted = self.counts.sum(axis=1) + self.missed, self.counts.sum(axis=0)
        union = truth + predicted - hit
        iou = np.divide(hit, union, out=np.full(len(hit), math.nan), where=union > 0)
        total = float(truth.sum())
        seen, unseen = _mean(iou[taxonomy.seen]), _mean(iou[~taxonomy.seen])
        return Metrics(
            pacc=float(hit.sum()) / total if total else math.nan,
            iou=tuple(iou.tolist()),
            dice=tuple((2 * iou / (1 + iou)).tolist()),
            miou_seen=seen,
            miou_unseen=unseen,
            hiou=harmonic_mean(seen, unseen),
        )


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of the defined values; NaN if none is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
