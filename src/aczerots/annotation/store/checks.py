"""What may go into the database: the same on SQLite and on PostgreSQL, which differ in what they refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from aczerots.annotation.store.records import NewAnswer
from aczerots.errors import InputError

_INTEGER = 2**31
LONGEST = 10_000
"""Characters of a comment."""


def check_answer(new: NewAnswer) -> None:
    """Refuse an answer with values that no database can hold, or that make no sense.

    Raises:
        InputError: A number out of range, a text that is too long or not to be stored, NaN in the geometry.
    """
    where = f"tile {new.tile}"
    for name in ("tile", "round", "based_on", "reading"):
        if not 0 <= getattr(new, name) < _INTEGER:
            raise InputError(f"{name} is out of range", where=where)
    if not (math.isfinite(new.seconds) and new.seconds >= 0):
        raise InputError("the time spent is no number of seconds", where=where)
    for name in ("author", "tool", "key", "comment"):
        check_text(getattr(new, name), name)
    if new.geometry is not None:
        check_json(new.geometry, "geometry")


def check_position(tile: int) -> None:
    """Refuse what can be the position of no tile.

    Raises:
        InputError: Negative, or too large to ask the database for.
    """
    if not 0 <= tile < _INTEGER:
        raise InputError(f"there is no tile {tile}")


def check_text(text: str, name: str) -> None:
    """Refuse text that is too long or cannot be stored.

    Raises:
        InputError: More than :data:`LONGEST` characters, a zero character, or half of a surrogate pair.
    """
    if len(text) > LONGEST:
        raise InputError(f"{name} has more than {LONGEST} characters")
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise InputError(f"{name} holds characters that are no text")


def check_json(value: Mapping[str, Any], name: str) -> None:
    """Refuse what is no JSON.

    Raises:
        InputError: NaN or an infinity, something that JSON does not know, or nested too deeply.
    """
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{name} is no JSON: {error}") from None
