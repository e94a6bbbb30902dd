"""From a locator string such as ``folder:data/luad`` to a dataset."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from aczerots.datasets.base import Dataset
from aczerots.datasets.bcss import bcss_dataset
from aczerots.datasets.folder import folder_dataset
from aczerots.datasets.her2st import her2st_dataset
from aczerots.datasets.phantom import phantom_dataset
from aczerots.datasets.voc import voc_dataset
from aczerots.datasets.wsss4luad import wsss4luad_dataset
from aczerots.errors import SettingsError

_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "folder": (),
    "wsss4luad": (),
    "bcss": (),
    "her2st": (),
    "voc": (),
    "phantom": ("size", "seed", "mpp"),
}
"""Kinds and the options that may follow after commas."""

_OPTION = re.compile(r"^(?P<rest>.*),(?P<key>[a-z_]+)=(?P<value>[^,=]*)$", re.DOTALL)


def locate_dataset(locator: str, seed: int = 0) -> Dataset:
    """The dataset that a locator names.

    ``folder:PATH``, ``wsss4luad:PATH``, ``bcss:PATH``, ``her2st:PATH``, ``voc:PATH`` or
    ``phantom:N[,size=PIXELS][,seed=INT][,mpp=MICROMETRES]``.

    Args:
        locator: Kind, colon, path or number, options.
        seed: For seeded splits and, unless it has its own, for the phantom.

    Raises:
        SettingsError: Unknown kind or option, or a value that makes no sense.
        InputError: The data are missing or cannot be used.
    """
    kind, colon, rest = locator.partition(":")
    if kind not in _OPTIONS or not colon:
        raise SettingsError(f"'{locator}' names no dataset", fix=f"Use {', '.join(f'{k}:...' for k in _OPTIONS)}")
    if seed < 0:
        raise SettingsError(f"the seed {seed} is negative", fix="Use 0 or more")
    rest, options = _split_options(kind, rest, locator)
    if not rest:
        raise SettingsError(f"nothing follows '{kind}:'", where=locator, fix="Give a path, or a number for phantom")
    if kind == "phantom":
        return _phantom(rest, options, locator, seed)
    path = Path(rest).expanduser()
    layouts: Mapping[str, Callable[[Path, int], Dataset]] = {
        "folder": folder_dataset,
        "wsss4luad": wsss4luad_dataset,
        "bcss": bcss_dataset,
        "her2st": her2st_dataset,
        "voc": voc_dataset,
    }
    return layouts[kind](path, seed)


def _split_options(kind: str, rest: str, locator: str) -> tuple[str, dict[str, str]]:
    """Take ``,key=value`` off the end; commas elsewhere belong to the path."""
    options: dict[str, str] = {}
    while _OPTIONS[kind] and (match := _OPTION.match(rest)):
        key = match["key"]
        if key not in _OPTIONS[kind]:
            raise SettingsError(
                f"{kind} has no option '{key}'", where=locator, fix=f"It has {', '.join(_OPTIONS[kind])}"
            )
        if key in options:
            raise SettingsError(f"the option '{key}' is given twice", where=locator)
        options[key] = match["value"]
        rest = match["rest"]
    return rest, options


def _phantom(count: str, options: Mapping[str, str], locator: str, seed: int) -> Dataset:
    return phantom_dataset(
        _integer(count, "the number of slides", locator),
        _integer(options["size"], "size", locator) if "size" in options else 448,
        _integer(options["seed"], "seed", locator) if "seed" in options else seed,
        _decimal(options["mpp"], "mpp", locator) if "mpp" in options else 0.5,
    )


def _integer(text: str, key: str, locator: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"'{text}' is no whole number for {key}", where=locator) from None


def _decimal(text: str, key: str, locator: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"'{text}' is no number for {key}", where=locator) from None
