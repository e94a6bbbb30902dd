"""Reads text files from outside."""

from __future__ import annotations

import codecs
from pathlib import Path

from aczerots.errors import InputError

_SPREADSHEET = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


def read_text(path: Path) -> str:
    """Content of a text file in UTF-8, or in UTF-16 with its byte order mark, as Windows programs write it.

    Raises:
        InputError: It cannot be read, or is no such text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from None
    if data.startswith(_SPREADSHEET):
        raise InputError("this is a spreadsheet or archive, not text", where=path, fix="Export it as 'CSV UTF-8'")
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        fix = "Save it again as UTF-8 (in Excel: 'CSV UTF-8')"
        raise InputError("this is not UTF-8 text", where=f"{path}, line {line}", fix=fix) from None
