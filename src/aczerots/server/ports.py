"""What the page needs of a project. The server knows nothing else of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aczerots.engine.progress import Progress
from aczerots.errors import AczerotsError
from aczerots.slides.base import Slide, Tile
from aczerots.taxonomy import Taxonomy


class ConflictError(AczerotsError):
    """What is asked does not fit the present state: a stale version, a tile that somebody else has."""


class UnknownTileError(AczerotsError):
    """No such tile, or nothing of the kind asked for is known of it."""


class Verdict(StrEnum):
    """What an annotator says about a tile."""

    DRAWN = "drawn"
    ACCEPTED = "accepted"
    NO_SEEN_CLASS = "no_seen_class"
    CANNOT_TELL = "cannot_tell"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Work:
    """Unfinished work on a tile.

    Attributes:
        mask: Label ids uint8 [size, size] in the frame of the tile's window.
        comment: What the annotator noted.
        seconds: Time spent on the tile so far.
        version: Version of the tile that the work began from.
        draft_id: Draft that it began from, None for an empty tile.
        reading: As in the task.
    """

    mask: NDArray[np.uint8]
    comment: str
    seconds: float
    version: int
    draft_id: int | None = None
    reading: int = 0


@dataclass(frozen=True)
class Task:
    """A tile handed to one annotator until the lease ends.

    Attributes:
        position: Its place in the pool.
        tile: The tile.
        round: Round it was chosen for.
        rank: Its place in the selection, from 1; 0 where it was not selected.
        reading: 0, or 1 for the second of two independent readings.
        score: What it was ranked by, None where it was not selected.
        components: Score components by name.
        version: Number of answers kept so far; an answer must name the version it began from.
        expires: End of the lease, UTC.
        draft: The model's label ids uint8 [size, size], None where there is none.
        draft_id: Number of the draft, None where there is none.
        answer: Newest answer's label ids uint8 [size, size], None where there is none.
        verdict: Newest answer's verdict, None where there is none.
        comments: Comments so far, oldest first.
        work: Autosaved work of this annotator, None where there is none.
    """

    position: int
    tile: Tile
    round: int
    rank: int
    reading: int
    score: float | None
    components: Mapping[str, float]
    version: int
    expires: datetime
    draft: NDArray[np.uint8] | None = None
    draft_id: int | None = None
    answer: NDArray[np.uint8] | None = None
    verdict: Verdict | None = None
    comments: Sequence[str] = ()
    work: Work | None = None


@dataclass(frozen=True)
class Answer:
    """What an annotator hands in.

    Attributes:
        key: Chosen by the page, equal when it sends the same answer again; one key is kept once.
        version: Version of the tile that the answer began from.
        verdict: What is said.
        mask: Label ids uint8 [size, size]; IGNORE where nothing was drawn.
        seconds: Time spent.
        draft_id: Draft that the answer began from, None for an empty tile.
        comment: Empty for none.
        reading: As in the task.
    """

    key: str
    version: int
    verdict: Verdict
    mask: NDArray[np.uint8]
    seconds: float
    draft_id: int | None = None
    comment: str = ""
    reading: int = 0


@dataclass(frozen=True)
class TileStatus:
    """Where one tile of the round stands.

    Attributes:
        position: Its place in the pool.
        rank: Its place in the selection.
        reading: 0, or 1 for the second of two independent readings.
        verdict: Newest answer, None where it is open.
        author: Who gave it, or who has the tile now.
        leased: Whether somebody works on it now.
    """

    position: int
    rank: int
    reading: int
    verdict: Verdict | None
    author: str | None
    leased: bool


@dataclass(frozen=True)
class RoundStatus:
    """Where the round stands.

    Attributes:
        number: The round; 0 before the first selection.
        state: proposed, annotating, fitted or evaluated.
        tiles: Its tiles by rank.
        pixels: Labelled pixels per class over all rounds, in label order.
        seconds: Time spent in this round by all annotators.
        median_seconds: Of an answered tile, None where none was answered.
        authors: Answered tiles of this round per annotator.
    """

    number: int
    state: str
    tiles: Sequence[TileStatus]
    pixels: Sequence[int]
    seconds: float
    median_seconds: float | None
    authors: Mapping[str, int]


@dataclass(frozen=True)
class Overlay:
    """A tile whose prediction deserves an eye.

    Attributes:
        position: Its place in the pool.
        tile: The tile.
        label: The unseen class it is shown for.
        share: Share of the tile that is predicted to be that class.
    """

    position: int
    tile: Tile
    label: int
    share: float


@dataclass(frozen=True)
class Advice:
    """Whether further rounds still change much.

    Attributes:
        stop: Whether stopping is suggested.
        reason: Why, in a sentence.
    """

    stop: bool
    reason: str


@dataclass(frozen=True)
class Results:
    """What the rounds brought.

    Attributes:
        rounds: One row per evaluated round: ``round``, ``tiles`` and metrics; NaN where undefined.
        ious: IoU per class on the validation tiles after the newest round; empty without validation tiles.
        change: Share of the pool's pixels whose prediction changed, per round that has a predecessor.
        overlays: Tiles with predicted unseen classes.
        advice: Whether to stop.
    """

    rounds: Sequence[Mapping[str, float]] = ()
    ious: Mapping[int, float] = field(default_factory=dict)
    change: Mapping[int, float] = field(default_factory=dict)
    overlays: Sequence[Overlay] = ()
    advice: Advice = Advice(False, "There is nothing to compare yet")


class Desk(Protocol):
    """A project as its annotators see it. Methods are called from several threads."""

    @property
    def name(self) -> str:
        """Name of the project."""

    @property
    def taxonomy(self) -> Taxonomy:
        """Its classes."""

    @property
    def slides(self) -> Sequence[Slide]:
        """Its slides; a slide keeps its place for as long as the desk is open."""

    def tile(self, position: int) -> Tile:
        """A tile of the pool.

        Raises:
            UnknownTileError: No such tile.
        """

    def next_task(self, user: str) -> Task | None:
        """A tile of the round for ``user``, kept for them until the lease ends; None where none is left."""

    def open_task(self, user: str, position: int, reading: int) -> Task:
        """A tile by its place, for a second look.

        Raises:
            UnknownTileError: It is in no round.
            ConflictError: Somebody else has it, or it is the other reading's turn to stay unseen.
        """

    def save_work(self, user: str, position: int, work: Work) -> datetime:
        """Keep unfinished work and renew the lease; returns its end, UTC.

        Raises:
            UnknownTileError: No such tile.
            ConflictError: The version is stale; the work is kept even so.
        """

    def answer(self, user: str, position: int, answer: Answer) -> int:
        """Keep an answer for good and end the lease; returns the tile's version after it.

        Raises:
            UnknownTileError: It is in no round.
            ConflictError: The version is stale; the drawing is kept aside.
        """

    def undo(self, user: str, position: int, reading: int) -> int:
        """Take back the user's newest answer, so that the one before counts; returns the version after it.

        Raises:
            UnknownTileError: It is in no round.
            ConflictError: The newest answer is not the user's.
        """

    def comment(self, user: str, position: int, text: str) -> None:
        """Keep a comment on a tile.

        Raises:
            UnknownTileError: It is in no round.
        """

    def round_status(self) -> RoundStatus:
        """Where the round stands."""

    def left(self) -> int:
        """Tiles of the round without an answer; second readings count on their own."""

    def results(self) -> Results:
        """What the rounds brought."""

    def prediction(self, position: int) -> NDArray[np.uint8]:
        """The newest model's label ids uint8 [size, size] on a tile.

        Raises:
            UnknownTileError: No such tile, or no model yet.
        """

    def advance(self, progress: Progress) -> None:
        """Fit to all answers, measure, and propose the next round. Takes minutes.

        Raises:
            AczerotsError: It cannot be done, for example because nothing was answered.
        """
