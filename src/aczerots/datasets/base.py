"""Labelled datasets: slides with truth, split into the pool and the test part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aczerots.errors import InputError
from aczerots.slides.base import LabelMap, Slide, Tile
from aczerots.slides.tiling import cut_tiles
from aczerots.taxonomy import Taxonomy

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Sample:
    """One slide with its truth.

    Attributes:
        slide: The pixels.
        truth: The label map.
        split: ``train`` is the pool that selection draws from, ``test`` is only for evaluation.
        patient: Patient id where known.
    """

    slide: Slide
    truth: LabelMap
    split: Split
    patient: str | None = None


@dataclass(frozen=True)
class Dataset:
    """Slides with truth under one taxonomy.

    Attributes:
        name: Short name for tables.
        taxonomy: Classes without the void ones; masks are already mapped to its positions.
        samples: All slides, ids unique.
        notes: What the user should know of it.
    """

    name: str
    taxonomy: Taxonomy
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()
    _by_id: Mapping[str, Sample] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the samples by slide id."""
        index = {s.slide.id: s for s in self.samples}
        if len(index) != len(self.samples):
            raise InputError("two slides have the same id", where=self.name)
        object.__setattr__(self, "_by_id", index)

    def __getitem__(self, slide_id: str) -> Sample:
        """The sample with that slide id."""
        return self._by_id[slide_id]

    def tiles(self, split: Split, tile_size: int, mpp: float | None = None) -> list[Tile]:
        """All tiles of a split, in slide order then reading order.

        Raises:
            InputError: The split has no slide.
        """
        tiles = [t for s in self.samples if s.split == split for t in cut_tiles(s.slide, tile_size, mpp)]
        if not tiles:
            part = "pool" if split == "train" else "test part"
            raise InputError(f"the {part} is empty", where=self.name, fix=f"Mark images as '{split}' in split.csv")
        return tiles


LoadDataset = Callable[[Path, int], Dataset]
"""(folder, seed) -> the dataset. The seed is for the split where the layout brings none. Nothing is decoded before it
is read. What is missing, contradictory or cannot be read is an InputError."""
