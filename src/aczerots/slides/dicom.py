"""Which DICOM files make up a slide: those of one series, which may lie beside the files of other slides."""

from __future__ import annotations

import struct
from functools import lru_cache
from pathlib import Path

from aczerots.errors import InputError
from aczerots.slides.files import look_at

_HEAD = 2**18
"""Bytes of a file in which the series is looked for; only short attributes come before it."""
_SYNTAX, _SERIES, _META = (0x0002, 0x0010), (0x0020, 0x000E), 0x0002
_ITEM, _ENDS = 0xFFFE, {0xE00D, 0xE0DD}
_IMPLICIT, _BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_UNDEFINED = 0xFFFFFFFF


def series_files(path: Path) -> list[Path]:
    """The file and those beside it, with the same ending, that are of the same series; others are other slides."""
    series = series_of(path)
    if series is None:
        return [path]
    beside = (p for p in path.parent.iterdir() if p.suffix.lower() == path.suffix.lower() and p.name != path.name)
    return [path, *sorted(p for p in beside if p.is_file() and series_of(p) == series)]


def series_of(path: Path) -> str | None:
    """Series Instance UID (0020,000E) of a DICOM file, None if it is none or says nothing."""
    try:
        stat = path.stat()
        return _series_of(path, stat.st_size, stat.st_mtime_ns)
    except (InputError, OSError):
        return None


@lru_cache(maxsize=2**16)
def _series_of(path: Path, size: int, changed: int) -> str | None:
    del size, changed  # another file has another answer
    if look_at(path) != "dicom":
        return None
    with path.open("rb") as file:
        data = file.read(_HEAD)
    try:
        return _Elements(data).find(_SERIES)
    except (struct.error, RecursionError):
        return None  # damaged, or nothing known


class _Elements:
    """The data elements of a DICOM file (PS3.5 section 7, PS3.10 section 7).

    Args:
        data: The beginning of the file.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._order, self._implicit = data, "<", False

    def find(self, wanted: tuple[int, int]) -> str | None:
        """The text of an element of the uppermost level."""
        at, syntax = 132, ""
        while at < len(self._data):
            # The group that says how the rest is written is itself always written in the same way.
            in_meta = struct.unpack_from("<H", self._data, at)[0] == _META
            self._implicit = not in_meta and syntax == _IMPLICIT
            self._order = ">" if not in_meta and syntax == _BIG else "<"
            tag, start, length = self._head(at)
            if tag > wanted:
                return None
            text = self._data[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")
            if tag == wanted:
                return text or None
            syntax = text if tag == _SYNTAX else syntax
            at = self._after(start, length)
        return None

    def _head(self, at: int) -> tuple[tuple[int, int], int, int]:
        """(tag, start of the value, its length) of the element at a place."""
        group, element = struct.unpack_from(f"{self._order}HH", self._data, at)
        if group == _ITEM or self._implicit:
            (length,) = struct.unpack_from(f"{self._order}I", self._data, at + 4)
            return (group, element), at + 8, length
        if self._data[at + 4 : at + 6] in _LONG:
            (length,) = struct.unpack_from(f"{self._order}I", self._data, at + 8)
            return (group, element), at + 12, length
        (length,) = struct.unpack_from(f"{self._order}H", self._data, at + 6)
        return (group, element), at + 8, length

    def _after(self, start: int, length: int) -> int:
        """Where the next element begins; what has no length ends with a mark of its own."""
        if length != _UNDEFINED:
            return start + length
        while True:
            tag, inner, size = self._head(start)
            if tag[0] == _ITEM and tag[1] in _ENDS:
                return inner
            start = self._after(inner, size)
