"""The largest of many values that only fall, found by looking at few of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.intp]
Values = NDArray[np.float64]

_SHORTLIST = 16_384
_FIRST = 64


class LazyMaximum:
    """Takes the position of the largest value again and again, while the values fall (Minoux, 1978).

    A value computed earlier bounds the present one from above, so a position whose old value is below a fresh one
    need not be looked at: the answer is that of looking at all. Values are computed in batches of growing size,
    since many at once cost little more than one, and only a shortlist of the highest bounds is gone through at
    every step; the others wait until the best value falls to the highest of theirs.

    Args:
        bounds: Upper bounds of the values, float [n]; -inf is never taken. Changed in place.
        ties: Integers [n]; among equal values the lowest goes first.
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
            # Ties with what is not on the shortlist are not settled yet either.
            if found is None or found[1] <= self._outside:
                if self._outside == -np.inf:
                    return None if found is None else self._remove(*found)
                self._choose_shortlist()
                continue
            return self._remove(*found)

    def _remove(self, position: int, value: float) -> tuple[int, float]:
        self.bounds[position] = -np.inf
        return position, value

    def _choose_shortlist(self) -> None:
        """Make the positions with the highest bounds, all that are equal to the last one included, the shortlist."""
        if np.count_nonzero(self.bounds > -np.inf) <= self._size:
            self._short: Positions = np.flatnonzero(self.bounds > -np.inf)
            self._outside = -np.inf
            return
        last = np.partition(self.bounds, len(self.bounds) - self._size)[len(self.bounds) - self._size]
        inside = self.bounds >= last
        self._short = np.flatnonzero(inside)
        self._outside = float(self.bounds.max(initial=-np.inf, where=~inside))

    def _best_of_shortlist(self) -> tuple[int, float] | None:
        """(position, value) of the largest present value on the shortlist."""
        batch = _FIRST
        while True:
            bounds = self.bounds[self._short]
            fresh = self._step[self._short] == self._now
            best = bounds.max(initial=-np.inf, where=fresh)
            stale = np.flatnonzero(~fresh & (bounds >= best) & (bounds > -np.inf))
            if len(stale) == 0:
                if best == -np.inf:
                    return None
                equal = self._short[fresh & (bounds == best)]
                return int(equal[self._ties[equal].argmin()]), float(best)
            if len(stale) > batch:
                stale = stale[np.argpartition(-bounds[stale], batch - 1)[:batch]]
            positions = self._short[stale]
            self.bounds[positions] = self._evaluate(positions)
            self._step[positions] = self._now
            batch *= 2
