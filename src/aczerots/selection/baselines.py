"""Baselines that score every tile alone: chance, and four measures of doubt."""

from __future__ import annotations

import numpy as np

from aczerots.selection.base import PoolView, Selection, check_budget, take_top
from aczerots.selection.uncertainty import confidence_gap, entropy, mutual_information


class RandomStrategy:
    """Every tile without annotation is as likely as any other."""

    name = "random"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`."""
        check_budget(budget)
        draw = pool.draw(rng)
        return take_top(pool, budget, draw, {"random": draw})


class EntropyStrategy:
    """Highest mean entropy of the posterior (Holub, Perona and Burl, 2008, per tile)."""

    name = "entropy"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`; the answer does not depend on ``rng``."""
        check_budget(budget)
        del rng
        score = pool.tile_mean(entropy(pool.posterior())).astype(np.float64)
        return take_top(pool, budget, score, {"entropy": score})


class MarginStrategy:
    """Smallest mean margin between the two most probable classes (Scheffer, Decomain and Wrobel, 2001)."""

    name = "margin"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`; the answer does not depend on ``rng``."""
        check_budget(budget)
        del rng
        score = pool.tile_mean(confidence_gap(pool.posterior())).astype(np.float64)
        return take_top(pool, budget, score, {"margin": score})


class LeastConfidenceStrategy:
    """Highest mean of one minus the probability of the predicted class (Lewis and Gale, 1994)."""

    name = "least-confidence"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`; the answer does not depend on ``rng``."""
        check_budget(budget)
        del rng
        score = pool.tile_mean(1.0 - pool.posterior().max(axis=-1)).astype(np.float64)
        return take_top(pool, budget, score, {"least_confidence": score})


class BaldStrategy:
    """Highest mean mutual information between the class and the model's state (Gal, Islam and Ghahramani, 2017).

    The states are dropout masks. A model without dropout has one state only: all information is 0, and the tiles
    are taken by key.
    """

    name = "bald"

    def select(self, pool: PoolView, budget: int, rng: np.random.Generator) -> Selection:
        """See :class:`~aczerots.selection.base.Strategy`; the answer does not depend on ``rng``."""
        check_budget(budget)
        del rng
        score = pool.tile_mean(mutual_information(pool.disturbed())).astype(np.float64)
        return take_top(pool, budget, score, {"mutual_information": score})
