"""From a locator string such as ``folder:data/luad`` to a dataset."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeVar

from aczerots.datasets.base import Dataset, LoadDataset
from aczerots.errors import SettingsError

LAYOUTS = ("folder", "wsss4luad", "bcss", "her2st", "voc")
"""Kinds that are read from a folder: ``some_kind`` is ``some_kind_dataset`` in ``aczerots.datasets.some_kind``."""

GROUP = "aczerots.datasets"

_PHANTOM = ("size", "seed", "mpp")
"""Options of the phantom."""

_Number = TypeVar("_Number", int, float)
_OPTION = re.compile(r"^(?P<rest>.*),(?P<key>[a-z_]+)=(?P<value>[^,=]*)$", re.DOTALL)


def locate_dataset(locator: str, seed: int = 0) -> Dataset:
    """The dataset that a locator names.

    ``folder:PATH``, ``wsss4luad:PATH``, ``bcss:PATH``, ``her2st:PATH``, ``voc:PATH``,
    ``phantom:N[,size=PIXELS][,seed=INT][,mpp=MICROMETRES]``, or ``KIND:PATH`` of an entry point.

    Args:
        locator: Kind, colon, path or number, options.
        seed: For seeded splits and, unless it has its own, for the phantom.

    Raises:
        SettingsError: Unknown kind or option, or a value that makes no sense.
        InputError: The data are missing or cannot be used.
    """
    kind, colon, rest = locator.partition(":")
    load = _load_function(kind) if colon else None
    if load is None and (kind != "phantom" or not colon):
        known = ", ".join(f"{k}:..." for k in (*LAYOUTS, "phantom"))
        raise SettingsError(f"'{locator}' names no dataset", fix=f"Use {known}")
    if seed < 0:
        raise SettingsError(f"the seed {seed} is negative", fix="Use 0 or more")
    if not rest:
        raise SettingsError(f"nothing follows '{kind}:'", where=locator, fix="Give a path, or a number for phantom")
    return _phantom(rest, locator, seed) if load is None else load(Path(rest).expanduser(), seed)


def _load_function(kind: str) -> LoadDataset | None:
    """What reads the layout, None where the kind is no layout."""
    load: LoadDataset
    if kind in LAYOUTS:
        load = getattr(import_module(f"aczerots.datasets.{kind}"), f"{kind}_dataset")
        return load
    for point in entry_points(group=GROUP, name=kind):
        load = point.load()
        return load
    return None


def _phantom(rest: str, locator: str, seed: int) -> Dataset:
    """The phantom of ``N`` and options after commas."""
    from aczerots.datasets.phantom import phantom_dataset

    options: dict[str, str] = {}
    while match := _OPTION.match(rest):
        key = match["key"]
        if key not in _PHANTOM:
            fix = f"It has {', '.join(_PHANTOM)}"
            raise SettingsError(f"phantom has no option '{key}'", where=locator, fix=fix)
        if key in options:
            raise SettingsError(f"the option '{key}' is given twice", where=locator)
        options[key] = match["value"]
        rest = match["rest"]
    return phantom_dataset(
        _number(int, rest, "the number of slides", locator),
        _number(int, options.get("size", "448"), "size", locator),
        _number(int, options.get("seed", str(seed)), "seed", locator),
        _number(float, options.get("mpp", "0.5"), "mpp", locator),
    )


def _number(kind: type[_Number], text: str, key: str, locator: str) -> _Number:
    try:
        return kind(text)
    except ValueError:
        what = "whole number" if kind is int else "number"
        raise SettingsError(f"'{text}' is no {what} for {key}", where=locator) from None
