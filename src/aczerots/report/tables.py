"""Reads the CSV files of a run; every complaint names the file and the line."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aczerots.errors import InputError
from aczerots.storage.csv_file import cell_text

_FIX = "The file is damaged or was cut off; run the same command again to finish the run"
_SCORES = ("pacc", "miou_seen", "miou_unseen", "hiou")
_IOU = "iou:"


@dataclass(frozen=True)
class Metrics:
    """Scores on the test part after a round; None where a score is undefined.

    Attributes:
        round: 0 is zero-shot.
        labelled_tiles: Tiles labelled so far.
        labelled_fraction: Their fraction of the pool, 0..1.
        pacc: Pixel accuracy, 0..1.
        miou_seen: Mean IoU over the seen classes.
        miou_unseen: Mean IoU over the unseen classes.
        hiou: Harmonic mean of the two.
        iou: IoU of each class by name.
    """

    round: int
    labelled_tiles: int
    labelled_fraction: float
    pacc: float | None
    miou_seen: float | None
    miou_unseen: float | None
    hiou: float | None
    iou: Mapping[str, float | None]


@dataclass(frozen=True)
class Selected:
    """One chosen tile and why it was chosen.

    Attributes:
        tile: Tile id.
        round: The round that asked for it.
        rank: Position in that round, as written by the strategy.
        score: What the strategy ranked by; None where the strategy does not score.
        components: Parts of the score by name; None where not computed.
    """

    tile: str
    round: int
    rank: int
    score: float | None
    components: Mapping[str, float | None]


@dataclass(frozen=True)
class _Row:
    """One record of a CSV file and where it stands."""

    where: str
    values: Mapping[str, str]

    def text(self, column: str) -> str:
        """The value, which must not be empty."""
        if not self.values[column]:
            raise InputError(f"the column '{column}' is empty", where=self.where, fix=_FIX)
        return cell_text(self.values[column])

    def optional(self, column: str) -> float | None:
        """The finite number, None where it is empty."""
        return self.number(column) if self.values[column] else None

    def number(self, column: str) -> float:
        """The finite number."""
        text = self.text(column)
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"'{text}' in the column '{column}' is no number", where=self.where, fix=_FIX)
        return number

    def integer(self, column: str) -> int:
        """The whole number."""
        text = self.text(column)
        if not text.isdecimal():
            raise InputError(f"'{text}' in the column '{column}' is no whole number", where=self.where, fix=_FIX)
        return int(text)


def _rows(path: Path, required: tuple[str, ...]) -> Iterator[_Row]:
    """The records of a CSV file with a header that holds the required columns."""
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read it: {error}", where=path) from error
    # Names may hold line breaks of any kind: only csv knows where a line ends.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        missing = [name for name in required if name not in header]
        if missing:
            raise InputError(f"the column '{missing[0]}' is missing", where=f"{path}:1", fix=_FIX)
        for record in reader:
            where = f"{path}:{reader.line_num}"
            if len(record) != len(header):
                raise InputError(f"{len(record)} columns where the header has {len(header)}", where=where, fix=_FIX)
            yield _Row(where, dict(zip(header, record, strict=True)))
    except csv.Error as error:
        raise InputError(f"not CSV: {error}", where=f"{path}:{reader.line_num}", fix=_FIX) from error


def read_metrics(path: Path, classes: tuple[str, ...]) -> tuple[Metrics, ...]:
    """The rounds of ``metrics.csv``, ascending; each class must have a column ``iou:<class>``.

    Raises:
        InputError: Unreadable, a column or value missing or no number, rounds out of order, no round.
    """
    found: list[Metrics] = []
    counts = ("round", "labelled_tiles", "labelled_fraction")
    for row in _rows(path, (*counts, *_SCORES, *(_IOU + name for name in classes))):
        number = row.integer("round")
        if found and number <= found[-1].round:
            raise InputError(f"round {number} after round {found[-1].round}", where=row.where, fix=_FIX)
        tiles, fraction = row.integer("labelled_tiles"), row.number("labelled_fraction")
        pacc, seen, unseen, hiou = (row.optional(name) for name in _SCORES)
        iou = {name: row.optional(_IOU + name) for name in classes}
        found.append(Metrics(number, tiles, fraction, pacc, seen, unseen, hiou, iou))
    if not found:
        raise InputError("no round is in it", where=path, fix="Let the run finish its first round")
    return tuple(found)


def read_selections(path: Path) -> tuple[Selected, ...]:
    """The chosen tiles of ``selections.csv`` by round, then rank; further columns are components of the score.

    Raises:
        InputError: Unreadable, a column or value missing or no number.
    """
    fixed = ("tile", "round", "rank", "score")
    found = [
        Selected(
            tile=row.text("tile"),
            round=row.integer("round"),
            rank=row.integer("rank"),
            score=row.optional("score"),
            components={name: row.optional(name) for name in row.values if name not in fixed},
        )
        for row in _rows(path, fixed)
    ]
    return tuple(sorted(found, key=lambda entry: (entry.round, entry.rank)))
