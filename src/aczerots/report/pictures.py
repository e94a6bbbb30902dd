"""The pictures of the page as data URIs: examples side by side, chosen tiles with their scores."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from aczerots.errors import InputError
from aczerots.report.images import overlay, uncertainty_map
from aczerots.report.runs import Example, Run
from aczerots.report.tables import Selected
from aczerots.taxonomy import Taxonomy

PANEL_SIDE = 560
"""Longest side in pixels of an example picture on the page."""

CARDS_PER_ROUND = 12
"""Chosen tiles shown with picture and bars; the others are in ``selections.csv``."""


def _open(path: Path, mode: str | None) -> Image.Image:
    """A decoded picture; palette indices are kept when ``mode`` is None."""
    try:
        with Image.open(path) as picture:
            return picture.convert(mode) if mode else picture.copy()
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise InputError(f"not a readable picture: {error}", where=path) from error


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """RGB uint8 [h, w, 3] as a JPEG data URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass(frozen=True)
class Panel:
    """One picture of an example."""

    title: str
    uri: str | None


def example_image(example: Example) -> Image.Image:
    """The RGB image, shrunk to :data:`PANEL_SIDE`."""
    image = _open(example.image, "RGB")
    image.thumbnail((PANEL_SIDE, PANEL_SIDE), Image.Resampling.LANCZOS)
    return image


def _label_panel(path: Path | None, image: Image.Image, taxonomy: Taxonomy, title: str) -> Panel:
    """A label map as an overlay of the image."""
    if path is None:
        return Panel(title, None)
    labels = np.asarray(_open(path, None).resize(image.size, Image.Resampling.NEAREST))
    try:
        return Panel(title, data_uri(overlay(np.asarray(image), labels, taxonomy)))
    except InputError as error:
        raise InputError(error.what, where=path) from error


def _uncertainty_panel(path: Path | None, image: Image.Image) -> Panel:
    """Uncertainty as a colour map."""
    if path is None:
        return Panel("Uncertainty", None)
    grey = np.asarray(_open(path, "L").resize(image.size, Image.Resampling.BILINEAR))
    return Panel("Uncertainty", data_uri(uncertainty_map(grey / 255)))


def example_panels(example: Example, taxonomy: Taxonomy) -> list[Panel]:
    """Image, truth, prediction and uncertainty side by side.

    Raises:
        InputError: A picture cannot be read, or a label id is outside the taxonomy.
    """
    image = example_image(example)
    return [
        Panel("Image", data_uri(np.asarray(image))),
        _label_panel(example.truth, image, taxonomy, "Truth"),
        _label_panel(example.prediction, image, taxonomy, "Prediction"),
        _uncertainty_panel(example.uncertainty, image),
    ]


@dataclass(frozen=True)
class Bar:
    """A score component of a chosen tile; ``width`` is its percentage of the largest one in the run."""

    name: str
    value: float | None
    width: float


@dataclass(frozen=True)
class Card:
    """A chosen tile."""

    selected: Selected
    uri: str | None
    bars: list[Bar]


@dataclass(frozen=True)
class ChosenRound:
    """The chosen tiles of a round; ``more`` of them are not shown."""

    round: int
    cards: list[Card]
    more: int


def _largest(selections: Sequence[Selected]) -> dict[str, float]:
    """Largest magnitude of each component over the run, so that bars can be compared between rounds."""
    names = selections[0].components if selections else {}
    return {name: max(abs(s.components[name] or 0.0) for s in selections) for name in names}


def _card(selected: Selected, thumbnails: Mapping[tuple[int, int], Path], largest: Mapping[str, float]) -> Card:
    """One chosen tile with its bars."""
    path = thumbnails.get((selected.round, selected.rank))
    bars = [
        Bar(name, value, 100 * abs(value or 0.0) / largest[name] if largest[name] else 0.0)
        for name, value in selected.components.items()
    ]
    uri = None if path is None else data_uri(np.asarray(_open(path, "RGB")))
    return Card(selected, uri, bars)


def chosen_rounds(run: Run) -> list[ChosenRound]:
    """The chosen tiles by round, the first :data:`CARDS_PER_ROUND` of each with picture and bars.

    Raises:
        InputError: A thumbnail cannot be read.
    """
    largest = _largest(run.selections)
    result = []
    for number in sorted({s.round for s in run.selections}):
        tiles = [s for s in run.selections if s.round == number]
        cards = [_card(s, run.chosen, largest) for s in tiles[:CARDS_PER_ROUND]]
        result.append(ChosenRound(number, cards, len(tiles) - len(cards)))
    return result
