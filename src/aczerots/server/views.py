"""Turns records of the store into answers to the page."""

from __future__ import annotations

import math
from collections import Counter
from statistics import median

from aczerots.annotation.formats.masks import decode_mask
from aczerots.annotation.overlays import find_unseen
from aczerots.annotation.stopping import stopping_criterion
from aczerots.annotation.store.records import AnswerKind, LeasedTile
from aczerots.project.status import score_note
from aczerots.server import models
from aczerots.server.runs import encode_runs
from aczerots.server.served import ServedProject
from aczerots.slides.base import Box

OVERLAYS = 12
"""Pictures per unseen class in the results view."""

MEANINGS = {
    "uncertainty": "how unsure the model is about this tile",
    "diversity": "how different it is from tiles already drawn",
    "coverage": "how much each class would gain from it",
    "seen_yield": "expected fraction of classes that you draw",
    "EUN": "entropy: how unsure the model is about this tile",
    "COT": "how far its features are from those drawn so far",
    "CSA": "how well it matches the classes described in words",
}
"""What the score components mean, in plain words."""


def finite(value: float | None) -> float | None:
    """The value, None where JSON cannot hold it: NaN or infinite."""
    return None if value is None or not math.isfinite(value) else float(value)


def project_info(served: ServedProject, user: str, version: str) -> models.ProjectInfo:
    """The project, its classes and slides, and who asks."""
    return models.ProjectInfo(
        name=served.name,
        user=user,
        version=version,
        classes=[
            models.ClassInfo(id=i, name=c.name, color=c.color, seen=c.seen, description="".join(c.descriptions[:1]))
            for i, c in enumerate(served.taxonomy.classes)
        ],
        slides=[
            models.SlideInfo(number=i, id=s.id, width=s.size[0], height=s.size[1], mpp=s.mpp)
            for i, s in enumerate(served.slides)
        ],
    )


def _rectangle(box: Box) -> models.Rectangle:
    return models.Rectangle.model_validate(box, from_attributes=True)


def tile_info(served: ServedProject, position: int) -> models.TileInfo:
    """Where a tile lies."""
    tile = served.tile(position)
    rows, columns = tile.inner
    inner = Box(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    return models.TileInfo(
        position=position,
        slide=next(i for i, slide in enumerate(served.slides) if slide.id == tile.slide),
        box=_rectangle(tile.box),
        window=_rectangle(tile.window),
        size=tile.size,
        mpp=tile.mpp,
        inner=_rectangle(inner),
    )


def _verdict(kind: AnswerKind | None) -> models.Verdict | None:
    return None if kind is None or kind is AnswerKind.WITHDRAWN else models.Verdict(kind)


def task_info(served: ServedProject, leased: LeasedTile) -> models.TaskInfo:
    """A leased tile as the page works on it."""
    pick, answer, draft = leased.pick, leased.answer, leased.draft
    comments = [f"{e.user}: {e.about['text']}" for e in leased.comments]
    if answer is not None and answer.comment:
        comments.append(f"{answer.author}: {answer.comment}")
    return models.TaskInfo(
        tile=tile_info(served, pick.tile),
        round=pick.round,
        rank=pick.rank,
        reading=leased.reading,
        score=finite(pick.score),
        why=[
            models.ScoreInfo(name=name, value=finite(value), meaning=MEANINGS.get(name, ""))
            for name, value in pick.components.items()
        ],
        version=leased.version,
        expires=leased.expires,
        draft=None if draft is None else encode_runs(decode_mask(draft.mask)),
        draft_id=None if draft is None else draft.id,
        answer=None if answer is None or answer.mask is None else encode_runs(decode_mask(answer.mask)),
        verdict=_verdict(None if answer is None else answer.kind),
        comments=comments,
        work=_work_info(leased),
    )


def _work_info(leased: LeasedTile) -> models.WorkInfo | None:
    """The autosaved work, None where it belongs to the other reading."""
    if leased.sketch is None or leased.sketch.content["reading"] != leased.reading:
        return None
    content = {key: leased.sketch.content[key] for key in ("mask", "comment", "seconds", "draft_id")}
    return models.WorkInfo(**content, version=leased.sketch.based_on)


def round_info(served: ServedProject) -> models.RoundInfo:
    """The newest round: what is left, class balance, time."""
    newest = served.store.rounds.newest()
    readings = [] if newest is None else served.store.round_status(newest.number)
    drawn = {} if newest is None else {c.label: c.pixels for c in served.store.progress().classes}
    done = [r for r in readings if r.kind is not None]
    left = len(readings) - len(done)
    times = [r.seconds for r in done if r.seconds > 0]
    return models.RoundInfo(
        number=0 if newest is None else newest.number,
        state="proposed" if newest is None else newest.state.value,
        tiles=[
            models.TileStatusInfo(
                position=r.tile,
                rank=r.rank,
                reading=r.reading,
                verdict=_verdict(r.kind),
                author=r.author,
                leased=r.leased,
            )
            for r in readings
        ],
        left=left,
        pixels=[drawn.get(label, 0) for label in range(len(served.taxonomy))],
        seconds=sum(r.seconds for r in readings),
        minutes_left=left * median(times) / 60 if times else None,
        authors=dict(Counter(r.author or "" for r in done)),
    )


def results_info(served: ServedProject) -> models.ResultsInfo:
    """What the rounds brought, and whether to stop."""
    measured = {r.number: r.metrics for r in served.store.rounds.all() if r.metrics}
    change, coverage = (
        {number: value for number, m in measured.items() if isinstance(value := m.get(key), float)}
        for key in ("change", "coverage")
    )
    newest = measured[max(measured)] if measured else {}
    ious = [(label, newest.get(f"iou:{name}")) for label, name in enumerate(served.taxonomy.names)]
    advice = stopping_criterion(change, coverage)
    found = find_unseen(served.store, served.pool, served.taxonomy, OVERLAYS)
    return models.ResultsInfo(
        rounds=[
            models.RoundRow(
                round=number,
                metrics={k: finite(v) for k, v in m.items() if isinstance(v, int | float) and not k.startswith("iou:")},
            )
            for number, m in measured.items()
        ],
        ious=[models.ClassIou(id=label, iou=finite(iou)) for label, iou in ious if isinstance(iou, float)],
        note=score_note(newest),
        change=[models.ChangeInfo(round=number, share=value) for number, value in change.items()],
        overlays=[
            models.OverlayInfo(tile=tile_info(served, s.position), label=s.label, share=s.fraction) for s in found
        ],
        advice=models.AdviceInfo(stop=advice.stop, reason=advice.reason),
    )
