"""From what a desk says to what the page is told."""

from __future__ import annotations

import math

from aczerots.server import models
from aczerots.server.ports import Desk, Results, RoundStatus, Task
from aczerots.server.runs import encode_runs
from aczerots.slides.base import Box, Tile
from aczerots.taxonomy import TissueClass

MEANINGS = {
    "uncertainty": "how unsure the model is about this tile",
    "diversity": "how different it is from tiles already drawn",
    "coverage": "how much each class would gain from it",
    "seen_yield": "expected share of classes that you draw",
    "EUN": "entropy: how unsure the model is about this tile",
    "COT": "how far its features are from those drawn so far",
    "CSA": "how well it matches the classes described in words",
}
"""What the score components mean, in plain words."""


def finite(value: float | None) -> float | None:
    """The value, None where JSON has no word for it."""
    return None if value is None or not math.isfinite(value) else float(value)


def class_info(label: int, tissue: TissueClass) -> models.ClassInfo:
    """A class as the palette shows it."""
    text = tissue.descriptions[0] if tissue.descriptions else ""
    return models.ClassInfo(id=label, name=tissue.name, color=tissue.color, seen=tissue.seen, description=text)


def _rectangle(box: Box) -> models.Rectangle:
    return models.Rectangle(x=box.x, y=box.y, width=box.width, height=box.height)


def tile_info(desk: Desk, position: int, tile: Tile) -> models.TileInfo:
    """Where a tile lies."""
    number = next(i for i, slide in enumerate(desk.slides) if slide.id == tile.slide)
    rows, columns = tile.inner
    inner = Box(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    return models.TileInfo(
        position=position,
        slide=number,
        box=_rectangle(tile.box),
        window=_rectangle(tile.window),
        size=tile.size,
        mpp=tile.mpp,
        inner=_rectangle(inner),
    )


def task_info(desk: Desk, task: Task) -> models.TaskInfo:
    """A task as the page works on it."""
    work = task.work
    return models.TaskInfo(
        tile=tile_info(desk, task.position, task.tile),
        round=task.round,
        rank=task.rank,
        reading=task.reading,
        score=finite(task.score),
        why=[
            models.ScoreInfo(name=name, value=finite(value), meaning=MEANINGS.get(name, ""))
            for name, value in task.components.items()
        ],
        version=task.version,
        expires=task.expires,
        draft=None if task.draft is None else encode_runs(task.draft),
        draft_id=task.draft_id,
        answer=None if task.answer is None else encode_runs(task.answer),
        verdict=task.verdict,
        comments=list(task.comments),
        work=None
        if work is None
        else models.WorkInfo(
            mask=encode_runs(work.mask),
            comment=work.comment,
            seconds=work.seconds,
            version=work.version,
            draft_id=work.draft_id,
        ),
    )


def tiles_left(status: RoundStatus) -> int:
    """Tiles of the round without an answer; second readings count on their own."""
    return sum(t.verdict is None for t in status.tiles)


def round_info(status: RoundStatus) -> models.RoundInfo:
    """The round view."""
    left, pace = tiles_left(status), status.median_seconds
    return models.RoundInfo(
        number=status.number,
        state=status.state,
        tiles=[
            models.TileStatusInfo(
                position=t.position, rank=t.rank, reading=t.reading, verdict=t.verdict, author=t.author, leased=t.leased
            )
            for t in status.tiles
        ],
        left=left,
        pixels=list(status.pixels),
        seconds=status.seconds,
        minutes_left=None if pace is None else left * pace / 60,
        authors=dict(status.authors),
    )


def results_info(desk: Desk, results: Results) -> models.ResultsInfo:
    """The results view."""
    return models.ResultsInfo(
        rounds=[
            models.RoundRow(round=int(row["round"]), metrics={k: finite(v) for k, v in row.items() if k != "round"})
            for row in results.rounds
        ],
        ious=[models.ClassIou(id=label, iou=finite(value)) for label, value in sorted(results.ious.items())],
        change=[models.ChangeInfo(round=number, share=share) for number, share in sorted(results.change.items())],
        overlays=[
            models.OverlayInfo(tile=tile_info(desk, o.position, o.tile), label=o.label, share=o.share)
            for o in results.overlays
        ],
        advice=models.AdviceInfo(stop=results.advice.stop, reason=results.advice.reason),
    )
