"""Areas per slide and class as a table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from aczerots.predict.slide_map import SlideMap
from aczerots.storage.csv_file import text_cell
from aczerots.storage.files import write_text_atomic
from aczerots.taxonomy import Taxonomy


def write_areas(path: Path, maps: Sequence[SlideMap], taxonomy: Taxonomy) -> None:
    """Write ``areas.csv``: a row per slide and class with its fraction of the tissue and its area.

    Names go through :func:`~aczerots.storage.csv_file.text_cell`.

    Args:
        path: The file.
        maps: Finished slides.
        taxonomy: The classes.

    Raises:
        StorageError: It cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["slide", "class", "share", "mm2"])
    for one in maps:
        for name, fraction, area in zip(taxonomy.names, one.fractions, one.areas, strict=True):
            known = "" if math.isnan(fraction) else f"{fraction:.6f}"
            table.writerow([text_cell(one.slide), text_cell(name), known, "" if area is None else f"{area:.6f}"])
    write_text_atomic(path, text.getvalue())
