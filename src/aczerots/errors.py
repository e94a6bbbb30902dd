"""Errors a user can meet: what is wrong, where, and how to fix it.

Everything the package raises on purpose derives from :class:`AczerotsError`; the command line prints it
as one line and never as a traceback. Anything else that escapes is a defect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that terminals obey, that turn the direction of writing, or that cannot be written."""


def printable(text: str) -> str:
    """The text with control characters as escapes: a name from a file must not drive a terminal."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


class AczerotsError(Exception):
    """Base of all deliberate errors.

    Args:
        what: What is wrong, as a sentence without a full stop.
        where: File, line, tile or option concerned.
        fix: What the user can do about it.
    """

    def __init__(self, what: str, *, where: object = None, fix: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.fix = fix
        super().__init__(str(self))

    def __str__(self) -> str:
        """One line: ``where: what (fix)``."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return printable(f"{text}. {self.fix}" if self.fix else text)


class InputError(AczerotsError):
    """A file from outside (image, mask, YAML, weights) cannot be used."""


class SettingsError(AczerotsError):
    """An option, or a combination of options, makes no sense."""


class StorageError(AczerotsError):
    """Writing or reading our own state failed (disk full, no permission, damaged file)."""


class NotFoundError(AczerotsError):
    """There is no such tile, slide, image or model."""


class ConflictError(AczerotsError):
    """A request does not fit the present state: a stale version, a tile that somebody else has."""


class MissingExtraError(AczerotsError):
    """An optional library is needed and not installed.

    Args:
        extra: Name of the extra in ``pyproject.toml``.
        need: What needs it.
    """

    def __init__(self, extra: str, need: str) -> None:
        super().__init__(f"{need} needs the extra '{extra}'", fix=f"Run: pip install 'aczerots[{extra}]'")


@contextmanager
def extra_needed(extra: str, need: str) -> Iterator[None]:
    """Turn a failing import inside the block into a :class:`MissingExtraError`."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(extra, need) from error


def first_complaint(error: ValidationError, whole: str = "content") -> tuple[str, str]:
    """(dotted key, else ``whole``; what is wrong with it) of the first thing that pydantic complains about."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or whole
    if first["type"] == "extra_forbidden":
        return key, "there is no such setting"
    got = "" if first["type"] == "missing" else f", got {repr(first['input'])[:80]}"
    return key, first["msg"].lower() + got
