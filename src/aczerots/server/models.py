"""Requests and answers of the page, typed. Masks are run lengths (:mod:`aczerots.server.runs`)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_COMMENT = 4000
Reading = Annotated[int, Field(ge=0, le=1, description="1 for the second of two independent readings.")]
DraftId = Annotated[int, Field(ge=0, lt=2**31, description="Draft that the work began from.")]
MAX_RUNS = 2 * 2048 * 2048

Runs = Annotated[
    list[Annotated[int, Field(ge=0, lt=2**31)]],
    Field(max_length=MAX_RUNS, description="Mask as [label, count, ...], row-major; 255 is not annotated."),
]
Comment = Annotated[str, Field(max_length=MAX_COMMENT, pattern="^[^\x00]*$")]
Seconds = Annotated[float, Field(ge=0, le=86_400 * 30, allow_inf_nan=False)]
Version = Annotated[int, Field(ge=0, lt=2**31, description="Version of the tile that the work began from.")]


class Verdict(StrEnum):
    """What an annotator says about a tile."""

    DRAWN = "drawn"
    ACCEPTED = "accepted"
    NO_SEEN_CLASS = "no_seen_class"
    CANNOT_TELL = "cannot_tell"
    SKIPPED = "skipped"


class _Model(BaseModel):
    """Frozen; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(_Model):
    """Why a request was refused, in a sentence."""

    detail: str


class ClassInfo(_Model):
    """A tissue class."""

    id: int
    name: str
    color: tuple[int, int, int]
    seen: bool
    description: str


class SlideInfo(_Model):
    """A slide; its deep-zoom image is ``slides/{number}.dzi``."""

    number: int
    id: str
    width: int
    height: int
    mpp: float | None


class ProjectInfo(_Model):
    """The project and who asks."""

    name: str
    user: str
    version: str
    classes: list[ClassInfo]
    slides: list[SlideInfo]


class Rectangle(_Model):
    """Level-0 pixels."""

    x: int
    y: int
    width: int
    height: int


class TileInfo(_Model):
    """Where a tile lies. Masks have ``size`` x ``size`` pixels over ``window``; only ``inner`` is drawn."""

    position: int
    slide: int
    box: Rectangle
    window: Rectangle
    size: int
    mpp: float | None
    inner: Rectangle = Field(description="The box in pixels of the mask.")


class ScoreInfo(_Model):
    """One component of why a tile was chosen."""

    name: str
    value: float | None
    meaning: str


class WorkInfo(_Model):
    """Autosaved work."""

    mask: Runs
    comment: str
    seconds: float
    version: int
    draft_id: int | None


class TaskInfo(_Model):
    """A tile that is yours until ``expires``."""

    tile: TileInfo
    round: int
    rank: int
    reading: int
    score: float | None
    why: list[ScoreInfo]
    version: int
    expires: datetime
    draft: Runs | None
    draft_id: int | None
    answer: Runs | None
    verdict: Verdict | None
    comments: list[str]
    work: WorkInfo | None


class NextTask(_Model):
    """The next tile, null where none is left for you."""

    task: TaskInfo | None
    left: int = Field(description="Tiles of the round without an answer.")


class WorkIn(_Model):
    """Unfinished work to keep."""

    mask: Runs
    version: Version
    comment: Comment = ""
    seconds: Seconds = 0.0
    draft_id: DraftId | None = None
    reading: Reading = 0


class Kept(_Model):
    """The work is kept and the tile stays yours until ``expires``."""

    expires: datetime


class AnswerIn(_Model):
    """An answer. The same ``key`` sent again is kept once."""

    key: Annotated[str, Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9-]+$")]
    version: Version
    verdict: Verdict
    mask: Runs | None = Field(default=None, description="Needed for `drawn` and `accepted`, ignored otherwise.")
    seconds: Seconds = 0.0
    draft_id: DraftId | None = None
    comment: Comment = ""
    reading: Reading = 0


class Receipt(_Model):
    """The answer is kept for good."""

    version: int


class CommentIn(_Model):
    """A comment on a tile."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_COMMENT, pattern="^[^\x00]*$")]


class Done(_Model):
    """It is done."""

    ok: Literal[True] = True


class TileStatusInfo(_Model):
    """Where one tile of the round stands."""

    position: int
    rank: int
    reading: int
    verdict: Verdict | None
    author: str | None
    leased: bool


class RoundInfo(_Model):
    """Where the round stands."""

    number: int
    state: str
    tiles: list[TileStatusInfo]
    left: int
    pixels: list[int] = Field(description="Labelled pixels per class, all rounds.")
    seconds: float
    minutes_left: float | None
    authors: dict[str, int]


class RoundRow(_Model):
    """One evaluated round."""

    round: int
    metrics: dict[str, float | None]


class ClassIou(_Model):
    """IoU of a class on the validation tiles."""

    id: int
    iou: float | None


class ChangeInfo(_Model):
    """Fraction of the pool's pixels whose prediction changed in a round."""

    round: int
    share: float


class OverlayInfo(_Model):
    """A tile with a predicted unseen class, to judge by eye."""

    tile: TileInfo
    label: int
    share: float


class AdviceInfo(_Model):
    """Whether further rounds still change much."""

    stop: bool
    reason: str


class ResultsInfo(_Model):
    """What the rounds brought."""

    rounds: list[RoundRow]
    ious: list[ClassIou]
    note: str | None = Field(description="What must be said beside the scores.")
    change: list[ChangeInfo]
    overlays: list[OverlayInfo]
    advice: AdviceInfo


class PredictionInfo(_Model):
    """The newest model's labels on a tile."""

    mask: Runs


class JobInfo(_Model):
    """Where fitting and proposing stand."""

    state: Literal["idle", "running", "done", "failed"]
    user: str
    stage: str
    done: int
    total: int
    message: str
