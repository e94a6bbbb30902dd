"""Names that look the same: a letter with an accent is one character (Unicode NFC) or, on macOS, often two (NFD)."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable


def composed(name: str) -> str:
    """The name with one character for each letter that has one: what to compare names by."""
    return unicodedata.normalize("NFC", name)


def match_names(names: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """The known name that each name stands for: the same, else the only one that looks the same.

    Names that stand for none are left out.
    """
    alike: dict[str, list[str]] = {}
    for name in known:
        alike.setdefault(composed(name), []).append(name)
    found = {name: [name] if name in known else alike.get(composed(name), []) for name in names}
    return {name: same[0] for name, same in found.items() if len(same) == 1}


def is_text(name: str) -> bool:
    """Whether the name of a file is text: Python keeps bytes that are no UTF-8 as lone surrogates."""
    return not any("\ud800" <= c <= "\udfff" for c in name)
