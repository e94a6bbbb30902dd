"""Query strategies of scikit-activeml (Kottke et al., 2021) as strategies: extra ``skactiveml``."""

from __future__ import annotations

import importlib
import inspect
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import SettingsError, extra_needed
from aczerots.selection.base import PoolView, Selection, check_budget, report, take_top

PREFIX = "skactiveml:"
USABLE = (
    "Badge", "CoreSet", "Falcun", "MaxHerding", "ProbCover", "RandomSampling", "TypiClust", "UncertaintySampling",
)  # fmt: skip
"""Those that need only samples, and their labels or a classifier. Clue and DropQuery are left out: their answer does
not depend on the seed alone."""


class SkactivemlStrategy:
    """A query strategy of scikit-activeml on tiles as samples.

    A sample is the mean feature of a tile, and its label the class of most of its drawn cells. Strategies that need a
    classifier get the library's own (Parzen windows), which works before anything is drawn.

    Args:
        query: Name of a class in ``skactiveml.pool``, one of :data:`USABLE`.

    Raises:
        SettingsError: Another name.
        MissingExtraError: scikit-activeml is not installed.
    """

    def __init__(self, query: str) -> None:
        if query not in USABLE:
            known = ", ".join(PREFIX + name for name in USABLE)
            raise SettingsError(f"unknown strategy '{PREFIX}{query}'", fix=f"Of scikit-activeml there are: {known}")
        with extra_needed("skactiveml", f"strategy '{PREFIX}{query}'"):
            self._query = getattr(importlib.import_module("skactiveml.pool"), query)
        self.name = PREFIX + query

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """Ask the query strategy for a batch until the budget is spent; ``rng`` gives its seed."""
        check_budget(budget)
        order = np.argsort(pool.rank)
        points, labels = pool.tile_features()[order].astype(np.float64), _main_class(pool)[order]
        if not points.size or np.ptp(points, axis=0).max() == 0:
            # Some query strategies fail where all tiles are equal; then any choice is as good.
            return take_top(pool, budget, np.zeros(len(pool)), {"utility": np.zeros(len(pool))})
        guess = pool.tile_mean(pool.posterior()).argmax(axis=1)[order]
        allowance, chosen, score = pool.allowance(), list[int](), list[float]()
        utility = np.full(len(pool), np.nan)
        query = self._query(random_state=int(rng.integers(1 << 31)), **self._options(min(len(pool.seen), len(pool))))
        while len(chosen) < budget and allowance.open.any():
            candidates = np.flatnonzero(allowance.open[order])
            number = min(budget - len(chosen), len(candidates))
            with warnings.catch_warnings():
                # k-means of scikit-learn warns where tiles are equal.
                warnings.filterwarnings("ignore", message="Number of distinct clusters")
                found, values = query.query(
                    points, labels, candidates=candidates, batch_size=number, return_utilities=True,
                    **self._classifier(len(pool.seen)),
                )  # fmt: skip
            finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
            if not chosen:
                utility[order] = finite[0]
            for i, place in enumerate(found):
                if allowance.open[order[place]]:
                    chosen.append(int(order[place]))
                    score.append(float(finite[i, place]))
                    allowance.take(chosen[-1])
                    labels[place] = guess[place]
        tiles = np.array(chosen, dtype=np.intp)
        return report(pool, tiles, np.array(score, dtype=np.float64), {"utility": utility})

    def _options(self, classes: int) -> dict[str, Any]:
        """Arguments of the query strategy beside the seed."""
        return {"n_classes": classes} if "n_classes" in inspect.signature(self._query).parameters else {}

    def _classifier(self, classes: int) -> dict[str, Any]:
        """The classifier, for strategies that ask for one."""
        wants = inspect.signature(self._query.query).parameters.keys() & {"clf", "estimator"}
        if not wants:
            return {}
        classifier = importlib.import_module("skactiveml.classifier").ParzenWindowClassifier
        return {wants.pop(): classifier(classes=list(range(classes)), random_state=0)}


def _main_class(pool: PoolView) -> NDArray[np.float64]:
    """The class of most drawn cells of each tile [n]; NaN for tiles that are not labelled.

    A labelled tile without a drawn cell counts as the class that the model predicts.
    """
    out = np.full(len(pool), np.nan)
    labels, predicted = pool.known_labels(), pool.tile_mean(pool.posterior()).argmax(axis=1)
    for tile in np.flatnonzero(pool.labelled):
        drawn = labels[tile][labels[tile] < len(pool.seen)]
        out[tile] = np.bincount(drawn).argmax() if len(drawn) else predicted[tile]
    return out
