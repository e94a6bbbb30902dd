"""What the project's database takes and gives: plain dataclasses, no database types."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import ConflictError
from aczerots.slides.base import Tile


class RoundState(StrEnum):
    """A round only ever moves forward, one state per transaction."""

    PROPOSED = "proposed"
    ANNOTATING = "annotating"
    FITTED = "fitted"
    EVALUATED = "evaluated"


class AnswerKind(StrEnum):
    """What an expert says about a tile.

    ``drawn`` and ``accepted`` carry a mask. ``no_seen_class``: nothing in the tile is of a seen class. ``cannot_tell``
    and ``skipped`` say nothing about it. ``withdrawn`` comes from undoing a first answer: the tile is open again.
    """

    DRAWN = "drawn"
    ACCEPTED = "accepted"
    NO_SEEN_CLASS = "no_seen_class"
    CANNOT_TELL = "cannot_tell"
    SKIPPED = "skipped"
    WITHDRAWN = "withdrawn"


WITH_MASK = (AnswerKind.DRAWN, AnswerKind.ACCEPTED)
"""Kinds that must carry a mask; the others must not."""


@dataclass(frozen=True)
class SlideRecord:
    """A slide of the project.

    Attributes:
        id: Its name, unique in the project.
        path: File, absolute or relative to the project folder.
        fingerprint: Hash that changes when the pixels may have changed.
        width: Level-0 pixels.
        height: Level-0 pixels.
        mpp: Micrometres per level-0 pixel, None where unknown.
    """

    id: str
    path: str
    fingerprint: str
    width: int
    height: int
    mpp: float | None


@dataclass(frozen=True)
class PickRecord:
    """A chosen tile.

    Attributes:
        round: Round it was chosen for.
        rank: Its place in the batch, from 1.
        tile: Position in the pool.
        score: What it was ranked by.
        components: Score components by name.
        readings: How many people draw it, each without seeing the other's drawing.
    """

    round: int
    rank: int
    tile: int
    score: float
    components: Mapping[str, float]
    readings: int = 1


@dataclass(frozen=True)
class RoundRecord:
    """One select-annotate-fit pass.

    Attributes:
        number: From 0.
        state: How far it has come.
        strategy: What chose its tiles.
        created: When it was proposed, UTC.
        model: File of its model relative to the project folder, None before it is fitted.
        metrics: What was measured, None before.
        seconds: What the stages took.
    """

    number: int
    state: RoundState
    strategy: str
    created: datetime
    model: str | None
    metrics: Mapping[str, Any] | None
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class NewAnswer:
    """What somebody hands in for a tile.

    Attributes:
        tile: Position in the pool.
        round: Round it is for.
        author: Who drew.
        tool: ``page``, ``qupath``, ``import``, ...
        kind: What it says.
        based_on: Version that the author saw; 0 for none.
        mask: Label ids uint8 [size, size] in the frame of the tile's window, for the kinds of :data:`WITH_MASK`.
        geometry: The drawing as GeoJSON in level-0 pixels, if there is one.
        comment: Free text.
        seconds: Time spent on the tile.
        draft: Id of the draft the drawing started from, None for an empty tile.
        reading: 0, or 1 for the second of two independent readings.
        key: Chosen by the sender. Handing in the same key again gives the answer that is there already, so that a
            sender who got no reply can simply send again.
    """

    tile: int
    round: int
    author: str
    tool: str
    kind: AnswerKind
    based_on: int
    mask: NDArray[np.uint8] | None = None
    geometry: Mapping[str, Any] | None = None
    comment: str = ""
    seconds: float = 0.0
    draft: int | None = None
    reading: int = 0
    key: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Answer:
    """An answer as kept; never changed, only followed by newer ones.

    Attributes:
        id: Number in the order of arrival.
        version: 1, 2, ... per tile and reading; the newest counts.
        based_on: Version that the author saw.
        mask: PNG of label ids [size, size] in the frame of the tile's window; None without a drawing.
        pixels: Pixels per label id inside the tile's box.
        reverts_to: Version whose content this answer brings back (0: none, open again); None for an ordinary answer.
        created: UTC.
    """

    id: int
    tile: int
    round: int
    reading: int
    author: str
    created: datetime
    tool: str
    kind: AnswerKind
    version: int
    based_on: int
    mask: bytes | None
    geometry: Mapping[str, Any] | None
    comment: str
    seconds: float
    draft: int | None
    pixels: Mapping[int, int]
    reverts_to: int | None
    key: str


@dataclass(frozen=True)
class RefusedAnswer:
    """An answer that was based on a stale version; kept so that it is not lost.

    Attributes:
        id: Number in the order of arrival.
        created: UTC.
        newest: Version that was there.
        mask: PNG as in :class:`Answer`.
    """

    id: int
    tile: int
    round: int
    reading: int
    author: str
    created: datetime
    kind: AnswerKind
    based_on: int
    newest: int
    mask: bytes | None
    geometry: Mapping[str, Any] | None
    comment: str
    key: str


class StaleAnswer(ConflictError):  # noqa: N818  # the name says what happened to the user
    """Somebody else answered for the tile meanwhile. The refused answer is kept.

    Attributes:
        newest: The answer that is there now.
        refused: Number under which the refused one is kept, None where nothing was handed in.
    """

    def __init__(self, newest: Answer, refused: int | None = None) -> None:
        self.newest, self.refused = newest, refused
        fix = None if refused is None else f"Look at the newest drawing; yours is kept as refused answer {refused}"
        what = f"{newest.author} has handed in version {newest.version} meanwhile"
        super().__init__(what, where=f"tile {newest.tile}", fix=fix)


@dataclass(frozen=True)
class Draft:
    """The model's proposal for a tile.

    Attributes:
        id: Number.
        tile: Position in the pool.
        round: Round it was made for.
        mask: PNG of label ids uint8 [size, size] in the frame of the tile's window.
        geometry: The same as GeoJSON in level-0 pixels.
        model: What made it.
        created: UTC.
    """

    id: int
    tile: int
    round: int
    mask: bytes
    geometry: Mapping[str, Any]
    model: str
    created: datetime


@dataclass(frozen=True)
class NewDraft:
    """A proposal to keep; attributes as of :class:`Draft`, the mask as an array."""

    tile: int
    mask: NDArray[np.uint8]
    geometry: Mapping[str, Any]
    model: str


@dataclass(frozen=True)
class Sketch:
    """Unfinished work of one user on one tile, as the page saved it.

    Attributes:
        user: Whose.
        tile: Position in the pool.
        based_on: Version of the answer it started from.
        content: Whatever the page needs to go on.
        saved: UTC.
    """

    user: str
    tile: int
    based_on: int
    content: Mapping[str, Any]
    saved: datetime


@dataclass(frozen=True)
class LeasedTile:
    """A tile leased to a user, with all that is known of it.

    Attributes:
        pick: Round, rank, score and components.
        tile: The tile itself.
        reading: 0, or 1 for a second independent reading.
        expires: When the lease ends, UTC.
        version: Version to base the answer on.
        answer: Newest answer of this reading, from an earlier round or withdrawn; None for none.
        draft: The model's newest proposal, None if there is none.
        sketch: The user's own unfinished work, None if there is none.
        comments: What was said about the tile, oldest first.
    """

    pick: PickRecord
    tile: Tile
    reading: int
    expires: datetime
    version: int
    answer: Answer | None
    draft: Draft | None
    sketch: Sketch | None
    comments: Sequence[Event] = ()


@dataclass(frozen=True)
class Event:
    """An entry of the audit trail.

    Attributes:
        id: Number in the order of arrival.
        time: UTC.
        user: Who, empty for the command line.
        what: ``answer``, ``undo``, ``refused``, ``propose``, ``fit``, ...
        about: Details.
    """

    id: int
    time: datetime
    user: str
    what: str
    about: Mapping[str, Any]
