"""Reads the features of a GeoJSON file one by one, so that every error names its feature."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from aczerots.errors import InputError

MAX_BYTES = 64 * 1024 * 1024
"""Largest file that is read. 10,000 outlines of 100 corners are about 30 MB."""

_BLANK = " \t\r\n"

_ZIP = b"PK\x03\x04"
"""How archives begin; QuPath offers to compress what it exports."""


def read_features(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, feature) of a FeatureCollection, of a plain array of features or of a single feature.

    ``NaN`` and ``Infinity`` become floats: JSON does not know them, and QuPath writes them as measurements.

    Raises:
        InputError: Missing, too large, a zip archive, not UTF-8, not JSON (with the number of the feature where it
            breaks), nested too deeply, or no features in it.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            limit = MAX_BYTES // 2**20
            raise InputError(f"is larger than {limit} MB", where=path, fix="Export the annotations slide by slide")
        data = path.read_bytes()
        if data.startswith(_ZIP):
            raise InputError("is a zip archive", where=path, fix="Unpack it, or export without compressing")
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from None
    except UnicodeDecodeError:
        raise InputError("this is not UTF-8 text", where=path) from None
    yield from _Walker(text, path).features()


class _Walker:
    """Walks through a JSON text from value to value."""

    def __init__(self, text: str, path: Path) -> None:
        self.text, self.path, self.place = text, path, 0
        self._decoder = json.JSONDecoder()

    def features(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(number, feature) in the order of the text."""
        start = self._peek()
        if start == "[":
            yield from self._array()
        elif start == "{":
            yield from self._object()
        else:
            self._refuse("this is no GeoJSON")
        if self._peek() != "":
            self._refuse("there is something after the end of the GeoJSON")

    def _object(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The features of a collection; or the object itself, if it is a feature."""
        begin, found, kind = self.place, False, None
        self._take("{")
        while self._peek() != "}":
            key = self._value("the head of the file")
            self._take(":")
            if key == "features" and self._peek() == "[":
                found = True
                yield from self._array()
            else:
                value = self._value("the head of the file")
                kind = value if key == "type" else kind
            if self._peek() != ",":
                break
            self._take(",")
        self._take("}")
        if found:
            return
        if kind != "Feature":
            self._refuse("holds no features")
        end, self.place = self.place, begin
        yield 1, self._feature(1)
        self.place = end

    def _array(self) -> Iterator[tuple[int, dict[str, Any]]]:
        self._take("[")
        number = 0
        while self._peek() != "]":
            number += 1
            yield number, self._feature(number)
            if self._peek() != ",":
                break
            self._take(",")
        self._take("]", number)

    def _feature(self, number: int) -> dict[str, Any]:
        value = self._value(f"feature {number}")
        if not isinstance(value, dict):
            raise InputError("is no GeoJSON feature", where=f"{self.path}, feature {number}")
        return value

    def _peek(self) -> str:
        """The next character that is no blank, empty at the end."""
        while self.place < len(self.text) and self.text[self.place] in _BLANK:
            self.place += 1
        return self.text[self.place : self.place + 1]

    def _take(self, mark: str, number: int = 0) -> None:
        if self._peek() != mark:
            self._refuse(f"this is not JSON: '{mark}' is missing", number)
        self.place += 1

    def _value(self, where: str) -> Any:
        self._peek()
        try:
            value, self.place = self._decoder.raw_decode(self.text, self.place)
        except RecursionError:
            raise InputError("is nested too deeply", where=f"{self.path}, {where}") from None
        except ValueError as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error).partition(";")[0]
            raise InputError(f"this is not JSON: {reason}", where=f"{self.path}, {where}") from None
        return value

    def _refuse(self, what: str, number: int = 0) -> NoReturn:
        after = f", after feature {number}" if number else ""
        raise InputError(what, where=f"{self.path}{after}")
