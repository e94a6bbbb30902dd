"""Locates a strategy by name: one of this package, of scikit-activeml, or an entry point of another package."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from aczerots.errors import SettingsError
from aczerots.selection.base import Strategy
from aczerots.selection.skactiveml import PREFIX, SkactivemlStrategy

STRATEGIES = (
    *("aczerots", "paper", "random", "entropy", "margin", "least-confidence", "bald", "coreset", "badge"),
    *("typiclust", "probcover", "ripu", "deal", "mada", "s4al", "pbal"),
)
"""Strategy ``some-name`` is the class ``SomeNameStrategy`` of the module ``aczerots.selection.some_name``."""

GROUP = "aczerots.strategies"


def locate_strategy(name: str, without: Sequence[str] = ()) -> Strategy:
    """The strategy of that name, with the terms in ``without`` switched off.

    Raises:
        SettingsError: Unknown name or term, a strategy without terms, or no term left.
        MissingExtraError: A strategy of scikit-activeml, which is not installed.
    """
    factory = _factory(name)
    terms: tuple[str, ...] = getattr(factory, "TERMS", ())
    for term in without:
        if term not in terms:
            known = f"The terms of '{name}' are: {', '.join(terms)}" if terms else "It is one score only"
            raise SettingsError(f"strategy '{name}' has no term '{term}'", where="--without", fix=known)
    left = tuple(t for t in terms if t not in without)
    if terms and not left:
        raise SettingsError("every term is switched off", where="--without", fix="Leave at least one term")
    strategy: Strategy = factory(left) if terms else factory()
    return strategy


def _factory(name: str) -> Any:
    """What makes the strategy, called with the terms that count if it has any."""
    if name in STRATEGIES:
        module = import_module(f"aczerots.selection.{name.replace('-', '_')}")
        return getattr(module, "".join(word.capitalize() for word in name.split("-")) + "Strategy")
    if name.startswith(PREFIX):
        return lambda: SkactivemlStrategy(name.removeprefix(PREFIX))
    for point in entry_points(group=GROUP, name=name):
        return point.load()
    raise SettingsError(f"unknown strategy '{name}'", fix=f"Choose one of: {', '.join(STRATEGIES)}")
