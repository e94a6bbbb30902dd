"""Finds a strategy by name: ours, the baselines, or an entry point of another package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points

from aczerots.errors import SettingsError
from aczerots.selection.base import Strategy
from aczerots.selection.baselines import (
    BaldStrategy,
    EntropyStrategy,
    LeastConfidenceStrategy,
    MarginStrategy,
    RandomStrategy,
)
from aczerots.selection.criterion import AczerotsStrategy
from aczerots.selection.geometry import CoresetStrategy, ProbcoverStrategy, TypiclustStrategy
from aczerots.selection.gradient import BadgeStrategy
from aczerots.selection.greedy import TERMS
from aczerots.selection.paper import PaperStrategy
from aczerots.selection.published import DealStrategy, MadaStrategy, PbalStrategy, S4alStrategy
from aczerots.selection.regions import RipuStrategy
from aczerots.selection.skactiveml import PREFIX, SkactivemlStrategy

_WHOLE: dict[str, Callable[[], Strategy]] = {
    "random": RandomStrategy,
    "entropy": EntropyStrategy,
    "margin": MarginStrategy,
    "least-confidence": LeastConfidenceStrategy,
    "bald": BaldStrategy,
    "coreset": CoresetStrategy,
    "badge": BadgeStrategy,
    "typiclust": TypiclustStrategy,
    "probcover": ProbcoverStrategy,
    "ripu": RipuStrategy,
    "deal": DealStrategy,
    "mada": MadaStrategy,
    "s4al": S4alStrategy,
    "pbal": PbalStrategy,
}
"""Strategies without terms that could be switched off."""

STRATEGIES = ("aczerots", "paper", *_WHOLE)
GROUP = "aczerots.strategies"


def locate_strategy(name: str, without: Sequence[str] = ()) -> Strategy:
    """The strategy of that name, with the terms in ``without`` switched off.

    Raises:
        SettingsError: Unknown name or term, a strategy without terms, or no term left.
    """
    terms = {"aczerots": TERMS, "paper": PaperStrategy.TERMS}.get(name, ())
    for term in without:
        if term not in terms:
            known = f"The terms of '{name}' are: {', '.join(terms)}" if terms else "It is one score only"
            raise SettingsError(f"strategy '{name}' has no term '{term}'", where="--without", fix=known)
    left = tuple(t for t in terms if t not in without)
    if terms and not left:
        raise SettingsError("every term is switched off", where="--without", fix="Leave at least one term")
    match name:
        case "aczerots":
            return AczerotsStrategy(left)
        case "paper":
            return PaperStrategy(left)
        case _ if name in _WHOLE:
            return _WHOLE[name]()
        case _ if name.startswith(PREFIX):
            return SkactivemlStrategy(name.removeprefix(PREFIX))
    for point in entry_points(group=GROUP, name=name):
        strategy: Strategy = point.load()()
        return strategy
    raise SettingsError(f"unknown strategy '{name}'", fix=f"Choose one of: {', '.join(STRATEGIES)}")
