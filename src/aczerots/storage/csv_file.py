"""Reads CSV tables from outside; makes cells that spreadsheets take for text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from aczerots.errors import InputError
from aczerots.storage.text_file import read_text

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How cells begin that spreadsheets compute."""


def text_cell(text: str) -> str:
    """A text as a cell: an apostrophe goes before what a spreadsheet would take for a formula."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def cell_text(cell: str) -> str:
    """The text of a cell made by :func:`text_cell`."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def read_rows(path: Path, columns: Sequence[str], delimiter: str = ",") -> Iterator[tuple[str, dict[str, str]]]:
    """(file and line for messages, row without outer blanks) of each line of a table with a head.

    Takes what spreadsheet programs write: semicolons or tabs between columns, empty rows and columns, names of columns
    in any case.

    Args:
        path: Text, as :func:`~aczerots.storage.text_file.read_text` takes it.
        columns: Those that it must have, in lower case, as all names of columns are in the rows.
        delimiter: Between columns, unless the head has the columns with another one.

    Raises:
        InputError: It cannot be read, or lacks one of ``columns``.
    """
    text = read_text(path)
    try:
        heads = {d: next(_rows(text, d), (0, []))[1] for d in (delimiter, ",", ";", "\t")}
        fitting = (d for d, head in heads.items() if {*columns} <= {name.lower() for name in head})
        delimiter = next(fitting, delimiter)
        head = heads[delimiter]
        missing = [c for c in columns if c not in {name.lower() for name in head}]
        if missing:
            found = ", ".join(f"'{name}'" for name in head if name) or "none"
            fix = f"The first line names the columns, with commas between them; found: {found}"
            raise InputError(f"the column '{missing[0]}' is missing", where=path, fix=fix)
        for line, cells in list(_rows(text, delimiter))[1:]:
            row = dict.fromkeys((name.lower() for name in head if name), "")
            # Of names that differ in case only, the one in lower case counts.
            for name, cell in sorted(zip(head, cells, strict=False), key=lambda pair: pair[0].islower()):
                if name:
                    row[name.lower()] = cell
            yield f"{path}, line {line}", row
    except csv.Error as error:
        raise InputError(f"cannot be read ({error})", where=path) from None


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells without outer blanks) of rows that are not empty, without Excel's first line ``sep=;``."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    for row in reader:
        cells = [cell.strip() for cell in row]
        if any(cells) and not (reader.line_num == 1 and cells[0].lower().startswith("sep=") and not any(cells[1:])):
            yield reader.line_num, cells
