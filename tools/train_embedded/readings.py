"""How attributes are read off measurements: from their definitions, corrected on drawn tissues.

A definition says which measurements an attribute is about (``attributes.py``); how much each of them counts is
learned where the truth is known, on drawn tissues and the phantom, whose expected levels the profile table holds.
This is ridge regression (Hoerl and Kennard 1970) shrunk towards the definition instead of towards zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tools.train_embedded.attributes import attribute_matrix
from tools.train_embedded.cells import DrawnCells
from tools.train_embedded.lexicon import Lexicon, levels_vector

PURE = 0.9
"""Share of one tissue above which a cell counts as pure."""

_MOST = 30_000


def fitted_readings(
    drawn: Sequence[DrawnCells], lexicon: Lexicon, center: Tensor, scale: Tensor, pull: float = 0.1
) -> Tensor:
    """Weights from standardised measurements to attribute levels.

    Args:
        drawn: Cells whose tissue is known.
        lexicon: Holds the levels of each tissue.
        center: Mean measurement, float [m].
        scale: Deviation of the measurements, float [m].
        pull: Strength of the pull towards the definitions, in units of the variance of a measurement.

    Returns:
        Float32 [m, k].
    """
    parts, targets = [], []
    for cells in drawn:
        kinds = [
            torch.stack([levels_vector(lexicon.by_name[n.lower()].levels) for n in k]).mean(0) for k in cells.names
        ]
        pure = cells.truth.amax(-1) > PURE
        levels = torch.stack(kinds)[cells.truth[pure].argmax(-1)]
        for view in cells.views:
            parts.append(((view[pure].float() - center) / scale).clamp(-3, 3))
            targets.append(levels)
    x, y = torch.cat(parts), torch.cat(targets)
    some = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:_MOST]
    x, y = x[some] - x[some].mean(0), y[some] - y[some].mean(0)
    definition = attribute_matrix()
    said = x @ definition
    size = (said * y).sum(0) / said.square().sum(0).clamp_min(1e-6)
    definition = definition * size.clamp_min(0.01)  # brought to the scale of levels, never turned round
    gram, cross = x.T @ x / len(x), x.T @ y / len(x)
    weights: Tensor = torch.linalg.solve(gram + pull * torch.eye(len(gram)), cross + pull * definition)
    return weights
