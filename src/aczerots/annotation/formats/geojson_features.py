"""Reads the features of a GeoJSON file one by one, so that every error names its feature."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from aczerots.errors import InputError

MAX_BYTES = 64 * 1024 * 1024
"""Largest file that is read. 10,000 outlines of 100 corners are about 30 MB."""

_BLANK = " \t\r\n"

_ZIP, _GZIP = b"PK\x03\x04", b"\x1f\x8b"
"""How compressed files begin that are read; QuPath offers to compress what it exports."""

_OTHERS = {
    b"BZh": ("is compressed by bzip2", "Unpack it"),
    b"\xfd7zXZ": ("is compressed by xz", "Unpack it"),
    b"\x28\xb5\x2f\xfd": ("is compressed by zstd", "Unpack it"),
    b"7z\xbc\xaf": ("is a 7z archive", "Unpack it"),
    b"Rar!": ("is a RAR archive", "Unpack it"),
    b"\xac\xed": ("holds data of QuPath itself", "In QuPath: File > Export objects as GeoJSON"),
}
"""What other files that people hand in begin with."""


def read_features(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, feature) of a FeatureCollection, of a plain array of features or of a single feature.

    UTF-8, UTF-16 and UTF-32 are read, with and without a byte order mark, and all of them in gzip or zip, too.
    ``NaN`` and ``Infinity`` become floats: JSON does not know them, and QuPath writes them as measurements.

    Raises:
        InputError: Missing, too large, an archive of several files, neither UTF-8 nor UTF-16, not JSON (with the
            number of the feature where it breaks), nested too deeply, or no features in it.
    """
    try:
        _check_length(path.stat().st_size, path)
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from None
    data = _unpacked(data, path)
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        raise InputError("this is not UTF-8 text, nor UTF-16", where=path, fix="Save it as UTF-8") from None
    yield from _Walker(text, path).features()


def _check_length(length: int, path: Path) -> None:
    if length > MAX_BYTES:
        limit = MAX_BYTES // 2**20
        raise InputError(f"is larger than {limit} MB", where=path, fix="Export the annotations slide by slide")


def _unpacked(data: bytes, path: Path) -> bytes:
    """The content of a file that may be compressed."""
    for begin, (what, fix) in _OTHERS.items():
        if data.startswith(begin):
            raise InputError(what, where=path, fix=fix)
    try:
        if data.startswith(_GZIP):
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(MAX_BYTES + 1)
        elif data.startswith(_ZIP):
            with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(_only_file(archive, path)) as file:
                data = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error, zipfile.BadZipFile) as error:
        kind = "gzip" if data.startswith(_GZIP) else "zip"
        raise InputError(f"is a {kind} archive that cannot be unpacked ({error})", where=path) from None
    _check_length(len(data), path)
    return data


def _only_file(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    """The file in an archive, without what macOS adds and without others than the only GeoJSON."""
    files = [f for f in archive.infolist() if not f.is_dir() and not f.filename.startswith("__MACOSX/")]
    drawn = [f for f in files if f.filename.lower().endswith((".geojson", ".json"))]
    found = drawn or files
    if len(found) != 1:
        raise InputError(f"is an archive of {len(found)} files", where=path, fix="Unpack it and name its files")
    return found[0]


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
