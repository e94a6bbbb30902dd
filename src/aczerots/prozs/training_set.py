"""What a model is fitted to: dense features of a pool, label maps of its annotated tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from aczerots.backbones.base import DenseFeatures
from aczerots.backbones.cache import FeatureStore


@dataclass(frozen=True)
class TrainingSet:
    """What a fit may see.

    Attributes:
        features: Dense features of the pool.
        labelled: Positions of the annotated tiles.
        labels: Their label ids uint8 [n, size, size]; IGNORE where not annotated and outside the tile's box, NO_SEEN
            where the expert says that there is no seen class.
        unlabelled: Positions of further pool tiles: for zero-shot distillation and for the calibration bias.
        groups: What each annotated tile belongs to, usually its slide; tiles of a group stay together in
            cross-validation.
    """

    features: FeatureStore
    labelled: Sequence[int]
    labels: torch.Tensor
    unlabelled: Sequence[int] = ()
    groups: Sequence[str] = ()


@dataclass(frozen=True)
class Batch:
    """The tensors of one step: the first ``len(targets)`` tiles are annotated, the others are context.

    Attributes:
        features: Dense features of all tiles of the step.
        targets: Label mass of the annotated tiles [b, C, H, W].
        no_seen: Fraction of each patch that holds no seen class [b, 1, H, W].
        weights: Class weights [C].
    """

    features: DenseFeatures
    targets: torch.Tensor
    no_seen: torch.Tensor
    weights: torch.Tensor
