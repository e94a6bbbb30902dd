"""Finds the largest of many falling values without computing all of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.intp]
Values = NDArray[np.float64]

_SHORTLIST = 2048
_FIRST = 64


class LazyMaximum:
    """Takes the position of the largest value again and again, while the values fall (Minoux, 1978).

    An old value is an upper bound of the present one, so positions whose old value is below a fresh one need not be
    computed; the answer is the same as with all of them. Values are computed in batches of growing size, because many
    at once cost little more than one. Each step goes through a shortlist of the highest bounds only; the others wait
    until the best value falls to the highest bound among them.

    Args:
        bounds: Upper bounds of the values, float [n]; -inf is never taken. Changed in place.
        ties: Ranks [n], distinct, below n; among equal values the lowest goes first.
        evaluate: Gives the present values float [b] of some positions [b]. They may never rise between two calls of
            :meth:`take`, up to rounding.
        shortlist: Positions that are gone through at every step.
    """

    def __init__(
        self,
        bounds: Values,
        ties: Positions,
        evaluate: Callable[[Positions], NDArray[np.floating]],
        shortlist: int = _SHORTLIST,
    ) -> None:
        self.bounds, self._ties, self._evaluate = bounds, ties, evaluate
        self._size = shortlist
        self._step = np.full(len(bounds), -1, dtype=np.int32)
        self._now = 0
        self._choose_shortlist()

    def take(self) -> tuple[int, float] | None:
        """(position, value) of the largest value, which is never taken again; None when there is none left."""
        self._now += 1
        while True:
            found = self._best_of_shortlist()
            if found is None or (found[1], -self._ties[found[0]]) < self._outside:
                if self._outside[0] == -np.inf:
                    return None
                self._choose_shortlist()
                continue
            self.bounds[found[0]] = -np.inf
            return found

    def only(self, open: NDArray[np.bool_]) -> None:
        """Never take positions that are not open, bool [n]."""
        self.bounds[~open] = -np.inf

    def _choose_shortlist(self) -> None:
        """Make the positions with the highest bounds the shortlist, and note the first of the others."""
        short = highest(self.bounds, self._ties, self._size)
        self._short: Positions = short[self.bounds[short] > -np.inf]
        rest = np.ones(len(self.bounds), dtype=bool)
        rest[short] = False
        top = self.bounds.max(initial=-np.inf, where=rest)
        first = self._ties.min(initial=len(self._ties), where=rest & (self.bounds == top))
        self._outside = float(top), -int(first)

    def _best_of_shortlist(self) -> tuple[int, float] | None:
        """(position, value) of the largest present value on the shortlist."""
        bounds, ties = self.bounds[self._short], self._ties[self._short]
        fresh = self._step[self._short] == self._now
        batch = _FIRST
        while True:
            best = bounds.max(initial=-np.inf, where=fresh)
            first = ties.min(initial=len(self._ties), where=fresh & (bounds == best))
            stale = np.flatnonzero(~fresh & ((bounds > best) | ((bounds == best) & (ties < first))))
            if best == -np.inf:
                stale = stale[bounds[stale] > -np.inf]
            if len(stale) == 0:
                return None if best == -np.inf else (int(self._short[fresh & (ties == first)][0]), float(best))
            stale = stale[highest(bounds[stale], ties[stale], batch)]
            positions = self._short[stale]
            self.bounds[positions] = bounds[stale] = self._evaluate(positions)
            self._step[positions] = self._now
            fresh[stale] = True
            batch *= 2


def highest(values: NDArray[np.floating], ties: Positions, number: int) -> Positions:
    """Positions of the ``number`` largest values [n], in no order; of equal ones those with the lowest ties [n]."""
    if len(values) <= number:
        return np.arange(len(values))
    cut = np.partition(values, len(values) - number)[len(values) - number]
    above, equal = np.flatnonzero(values > cut), np.flatnonzero(values == cut)
    room = number - len(above)
    if len(equal) > room:
        equal = equal[np.argpartition(ties[equal], room - 1)[:room]]
    return np.concatenate([above, equal])
