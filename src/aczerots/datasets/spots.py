"""Labelled spots as truth: discs with an id, IGNORE between them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import InputError
from aczerots.slides.base import Box
from aczerots.storage.csv_file import read_rows
from aczerots.taxonomy import IGNORE

SPOT_DIAMETER_UM = 100.0
SPOT_PITCH_UM = 200.0
ARRAY = (33, 35)
"""Spatial Transcriptomics arrays (Stahl et al. 2016, Science 353:78): columns and rows of spots, numbered
from 1, 200 um from centre to centre."""

_UNDETERMINED = "undetermined"


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

    def within(self, x: int, y: int, size: tuple[int, int]) -> Spots:
        """The same spots in the frame of a part of the image; ``size`` is (width, height)."""
        return replace(self, xy=self.xy - np.array([x, y]), size=size)

    def classes_on_both_sides(self, axis: int, cut: float) -> int:
        """Number of classes with spots on either side of a cut across axis 0 (x) or 1 (y)."""
        low = self.xy[:, axis] < cut
        return len(set(self.ids[low].tolist()) & set(self.ids[~low].tolist()))

    def read(self, box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Label ids of ``box`` by nearest neighbour, IGNORE between spots and beyond the slide: uint8 [h, w]."""
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


def read_spots(table: Path, size: tuple[int, int], labels: Mapping[str, int]) -> tuple[Spots, float]:
    """Spots of a HER2ST table, in the pixels of the section image.

    The published images are cut to the array: the first spot is at one corner, the last at the opposite one.
    So the array coordinates place the spots in an image of any size. The columns ``pixel_x`` and ``pixel_y`` of the
    table do not: they belong to a frame that is mirrored top to bottom.

    Args:
        table: Tab-separated, with the columns x, y (place in the array, adjusted to the image) and label.
        size: (width, height) of the image in pixels.
        labels: Class name -> taxonomy position; ``undetermined`` spots are left out.

    Returns:
        The spots, and micrometres per pixel.

    Raises:
        InputError: Unreadable, a missing column, a bad number, an unknown label, an image that is not cut to
            the array, or no spot that counts.
    """
    extent = np.array(ARRAY) - 1
    pitch = np.array(size) / extent
    if not 0.9 < pitch[0] / pitch[1] < 1.1:
        raise InputError(f"the {size[0]} x {size[1]} image is not cut to the spot array", where=table)
    rows = list(read_rows(table, ("x", "y", "label"), delimiter="\t"))
    names = [row["label"] for _, row in rows]
    places = np.array([(_coordinate(r["x"], where), _coordinate(r["y"], where)) for where, r in rows]).reshape(-1, 2)
    unknown = sorted(set(names) - labels.keys() - {_UNDETERMINED})
    if unknown:
        raise InputError(f"unknown label '{unknown[0]}'", where=table, fix=f"Labels are {', '.join(labels)}")
    usable = np.array([name != _UNDETERMINED for name in names], dtype=bool)
    if not usable.any():
        raise InputError("no spot has a class", where=table)
    if (places < 0).any() or (places > extent + 2).any():
        raise InputError(f"a spot lies outside the {ARRAY[0]} x {ARRAY[1]} array", where=table)
    ids = np.array([labels.get(name, IGNORE) for name in names], dtype=np.uint8)[usable]
    mpp = SPOT_PITCH_UM / float(np.sqrt(pitch.prod()))
    return Spots((places[usable] - 1) * pitch, ids, SPOT_DIAMETER_UM / 2 / mpp), mpp


def _coordinate(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"the coordinate '{text}' is no number", where=where)
    return value
