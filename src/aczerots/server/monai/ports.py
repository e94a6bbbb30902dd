"""What clients of MONAI Label need of a project beyond what the page needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.geojson import Drawings, Unused
from aczerots.slides.base import Box, Tile


@dataclass(frozen=True)
class Asked:
    """A tile of some round.

    Attributes:
        tile: The tile.
        answered: Whether an answer for it counts.
    """

    tile: Tile
    answered: bool


@dataclass(frozen=True)
class Taken:
    """What became of drawings that were handed in.

    Attributes:
        answers: Tiles with a new answer.
        unchanged: Tiles whose drawing was known already.
        untouched: Tiles that still show the model's draft as it was.
        stale: Tiles that somebody else has answered for; the drawings are kept aside.
        unused: Drawings without a use.
    """

    answers: int
    unchanged: int
    untouched: int
    stale: int
    unused: Sequence[Unused]


class Exchange(Protocol):
    """A project as other tools see it. Methods are called from several threads."""

    @property
    def strategy(self) -> str:
        """What chooses its tiles."""

    def asked(self) -> Sequence[Asked]:
        """Tiles of all rounds, by position in the pool."""

    def next_tile(self, user: str, slide: str | None) -> Tile | None:
        """A tile of the round for ``user``, on a certain slide if one is named; None where none is left."""

    def labels(self, slide: str, box: Box) -> NDArray[np.uint8]:
        """The newest model's label ids uint8 [height, width] of a box inside a slide, level-0 pixels.

        Raises:
            UnknownTileError: There is no model yet.
            InputError: The slide cannot be read.
        """

    def drawn(self, slide: str, box: Box) -> NDArray[np.uint8]:
        """What counts as drawn in a box inside a slide: label ids uint8 [height, width], level-0 pixels, else IGNORE.

        Raises:
            UnknownTileError: Nothing was drawn there.
        """

    def take(self, user: str, slide: str, drawings: Drawings, patch: Box | None) -> Taken:
        """Take drawings on a slide as answers, in one transaction per tile.

        Args:
            user: Who hands them in.
            slide: Id of the slide.
            drawings: Level-0 pixels.
            patch: Only tiles with their centre in this box, whose drafts count as looked at; None takes all tiles
                of the slide that were asked for, and leaves alone what somebody else has answered.
        """

    def file(self, slide: str) -> Path:
        """The image file of a slide."""

    def trail(self, lines: int) -> Sequence[str]:
        """The newest entries of the audit trail, oldest first."""
