"""The pictures of the page as data URIs: examples side by side, chosen tiles with their scores."""

from __future__ import annotations

import base64
import io
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
    """One picture of an example; ``uri`` is None where it is missing."""

    title: str
    uri: str | None


def example_panels(example: Example, taxonomy: Taxonomy) -> list[Panel]:
    """Image, truth, prediction and uncertainty side by side, shrunk to :data:`PANEL_SIDE`.

    Raises:
        InputError: A picture cannot be read, or a label id is outside the taxonomy.
    """
    picture = _open(example.image, "RGB")
    picture.thumbnail((PANEL_SIDE, PANEL_SIDE), Image.Resampling.LANCZOS)
    image = np.asarray(picture)

    def labelled(path: Path) -> NDArray[np.uint8]:
        labels = np.asarray(_open(path, None).resize(picture.size, Image.Resampling.NEAREST))
        try:
            return overlay(image, labels, taxonomy)
        except InputError as error:
            raise InputError(error.what, where=path) from error

    def uncertain(path: Path) -> NDArray[np.uint8]:
        grey = np.asarray(_open(path, "L").resize(picture.size, Image.Resampling.BILINEAR))
        return uncertainty_map(grey / 255)

    panels = [Panel("Image", data_uri(image))]
    for title, path, draw in (
        ("Truth", example.truth, labelled),
        ("Prediction", example.prediction, labelled),
        ("Uncertainty", example.uncertainty, uncertain),
    ):
        panels.append(Panel(title, None if path is None else data_uri(draw(path))))
    return panels


@dataclass(frozen=True)
class Card:
    """A chosen tile; ``widths`` are its score components in percent of the largest of each in the run."""

    selected: Selected
    uri: str | None
    widths: dict[str, float]


@dataclass(frozen=True)
class ChosenRound:
    """The chosen tiles of a round; ``more`` of them are not shown."""

    round: int
    cards: list[Card]
    more: int


def chosen_rounds(run: Run) -> list[ChosenRound]:
    """The chosen tiles by round, the first :data:`CARDS_PER_ROUND` of each with picture and bars.

    Raises:
        InputError: A thumbnail cannot be read.
    """
    # Over the whole run, so that bars can be compared between rounds.
    names = run.selections[0].components if run.selections else ()
    largest = {name: max(abs(s.components[name] or 0.0) for s in run.selections) for name in names}

    def card(selected: Selected) -> Card:
        path = run.chosen.get((selected.round, selected.rank))
        uri = None if path is None else data_uri(np.asarray(_open(path, "RGB")))
        widths = {k: 100 * abs(v or 0.0) / largest[k] if largest[k] else 0.0 for k, v in selected.components.items()}
        return Card(selected, uri, widths)

    result = []
    for number in sorted({s.round for s in run.selections}):
        tiles = [s for s in run.selections if s.round == number]
        shown = [card(s) for s in tiles[:CARDS_PER_ROUND]]
        result.append(ChosenRound(number, shown, len(tiles) - len(shown)))
    return result
