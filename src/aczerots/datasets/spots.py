"""Labelled spots as truth: discs with an id, IGNORE between them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import InputError
from aczerots.slides.base import Box
from aczerots.taxonomy import IGNORE

SPOT_DIAMETER_UM = 100.0
SPOT_PITCH_UM = 200.0
"""Spatial Transcriptomics arrays (Stahl et al. 2016, Science 353:78): 200 um from centre to centre."""

_UNDETERMINED = "undetermined"
_COLUMNS = ("x", "y", "pixel_x", "pixel_y", "label")


@final
@dataclass(frozen=True)
class Spots:
    """Discs with a class each; satisfies :class:`~aczerots.slides.base.LabelMap`.

    Attributes:
        xy: Centres in pixels, float64 [n, 2], (x, y).
        ids: Taxonomy positions uint8 [n].
        radius: In pixels.
        size: (width, height) of the slide, None while it has none; no disc reaches beyond it.
    """

    xy: NDArray[np.float64]
    ids: NDArray[np.uint8]
    radius: float
    size: tuple[int, int] | None = None

    def scaled(self, factor: float) -> Spots:
        """The same spots in an image ``factor`` times as large."""
        return replace(self, xy=self.xy * factor, radius=self.radius * factor)

    def within(self, x: int, y: int, size: tuple[int, int]) -> Spots:
        """The same spots in the frame of a part of the image; ``size`` is (width, height)."""
        return replace(self, xy=self.xy - np.array([x, y]), size=size)

    def classes_on_both_sides(self, axis: int, cut: float) -> int:
        """Number of classes with spots on either side of a cut across axis 0 (x) or 1 (y)."""
        low = self.xy[:, axis] < cut
        return len(set(self.ids[low].tolist()) & set(self.ids[~low].tolist()))

    def read(self, box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Label ids of ``box`` by nearest neighbour, IGNORE between the spots and beyond the slide.

        Args:
            box: Level-0 pixels.
            size: (width, height) of the result.

        Returns:
            uint8 [height, width].
        """
        # Integer pixel positions, so that reading at another size picks from the same level-0 labels.
        columns = box.x + np.floor((np.arange(size[0]) + 0.5) * box.width / size[0])
        rows = box.y + np.floor((np.arange(size[1]) + 0.5) * box.height / size[1])
        out = np.full((size[1], size[0]), IGNORE, dtype=np.uint8)
        for (x, y), label in zip(self.xy, self.ids, strict=True):
            dx, dy = columns + 0.5 - x, rows + 0.5 - y
            near_x, near_y = np.abs(dx) <= self.radius, np.abs(dy) <= self.radius
            if near_x.any() and near_y.any():
                disc = dx[near_x] ** 2 + dy[near_y, None] ** 2 <= self.radius**2
                part = np.ix_(near_y, near_x)
                out[part] = np.where(disc, label, out[part])
        if self.size is not None:
            out[:, (columns < 0) | (columns >= self.size[0])] = IGNORE
            out[(rows < 0) | (rows >= self.size[1]), :] = IGNORE
        return out


def read_spots(table: Path, labels: Mapping[str, int]) -> tuple[Spots, float]:
    """Spots of a HER2ST table, in the pixels it states.

    Args:
        table: Tab-separated, with the columns x, y (spot grid), pixel_x, pixel_y and label.
        labels: Class name -> taxonomy position; ``undetermined`` spots are left out.

    Returns:
        The spots, and micrometres per pixel after the pitch of the spot grid.

    Raises:
        InputError: Unreadable, a missing column, a bad number, an unknown label, or no usable grid.
    """
    grid, pixels, names = _read_table(table)
    unknown = sorted(set(names) - labels.keys() - {_UNDETERMINED})
    if unknown:
        raise InputError(f"unknown label '{unknown[0]}'", where=table, fix=f"Labels are {', '.join(labels)}")
    usable = np.array([name != _UNDETERMINED for name in names])
    if not usable.any():
        raise InputError("no spot has a class", where=table)
    pitch = _pitch(grid, pixels, table)
    ids = np.array([labels.get(name, IGNORE) for name in names], dtype=np.uint8)[usable]
    mpp = SPOT_PITCH_UM / pitch
    return Spots(pixels[usable], ids, SPOT_DIAMETER_UM / 2 / mpp), mpp


def _read_table(table: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    numbers: list[list[float]] = []
    names: list[str] = []
    try:
        with table.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream, delimiter="\t")
            lacking = [c for c in _COLUMNS if c not in (reader.fieldnames or ())]
            if lacking:
                raise InputError(f"the column '{lacking[0]}' is missing", where=table)
            for row in reader:
                values = _numbers(row)
                if values is None:
                    raise InputError("a coordinate is no number", where=f"{table}, line {reader.line_num}")
                numbers.append(values)
                names.append(row["label"])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read ({error})", where=table) from None
    array = np.array(numbers, dtype=np.float64).reshape(-1, 4)
    return array[:, :2], array[:, 2:], names


def _numbers(row: Mapping[str, str | None]) -> list[float] | None:
    """The four coordinates, None where one is missing or not finite."""
    try:
        values = [float(row[c] or "nan") for c in _COLUMNS[:4]]
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def _pitch(grid: NDArray[np.float64], pixels: NDArray[np.float64], table: Path) -> float:
    """Pixels per grid step: size of the linear map from grid to pixels, by least squares."""
    if len(grid) < 3:
        raise InputError("fewer than 3 spots do not show the grid", where=table)
    centred = grid - grid.mean(axis=0)
    if np.linalg.matrix_rank(centred) < 2:
        raise InputError("all spots lie on a line", where=table)
    linear, *_ = np.linalg.lstsq(centred, pixels - pixels.mean(axis=0), rcond=None)
    return float(np.sqrt(abs(np.linalg.det(linear))))
