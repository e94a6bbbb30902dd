"""The stopping criterion: whether further rounds still change much. It only suggests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CHANGE = 0.02
"""Fraction of the pixels whose prediction a round must change to be worth it."""

GAIN = 0.01
"""Gain of coverage that a round must bring to be worth it."""

PATIENCE = 2
"""Rounds in a row below both."""


@dataclass(frozen=True)
class Advice:
    """Whether stopping is suggested, and the reason in a sentence."""

    stop: bool
    reason: str


def stopping_criterion(change: Mapping[int, float], coverage: Mapping[int, float]) -> Advice:
    """A suggestion from the newest rounds.

    Args:
        change: Fraction of the pool's pixels whose prediction changed, by round.
        coverage: How well the prototypes cover the pool, 0 to 1, by round; rounds without it count by change.
    """
    rounds = sorted(change)[-PATIENCE:]
    if len(rounds) < PATIENCE:
        more = PATIENCE - len(rounds)
        after = "one more fitted round" if more == 1 else f"{more} fitted rounds"
        return Advice(False, f"After {after} this says whether further rounds still change much")
    fractions = " and ".join(f"{100 * change[r]:.1f} %" for r in rounds)
    text = f"The last {PATIENCE} rounds changed the prediction of {fractions} of the pixels"
    small = all(change[r] < CHANGE for r in rounds)
    gains = [coverage[r] - coverage[r - 1] for r in rounds if r in coverage and r - 1 in coverage]
    if gains:
        text += f" and raised the coverage by {' and '.join(f'{100 * g:.1f}' for g in gains)} points"
    if small and all(g < GAIN for g in gains):
        return Advice(True, f"{text}: further rounds will change little")
    return Advice(False, f"{text}: another round is worth it")
