"""What the page can ask. Every route is behind the gate of :mod:`aczerots.server.access`."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.security import HTTPBearer
from numpy.typing import NDArray

from aczerots.annotation.formats.masks import decode_mask, only_inside
from aczerots.annotation.store.database import now_utc
from aczerots.annotation.store.leases import LEASE
from aczerots.annotation.store.records import WITH_MASK, AnswerKind, NewAnswer
from aczerots.errors import ConflictError, InputError, NotFoundError
from aczerots.server import deepzoom, models, views
from aczerots.server.access import current_user
from aczerots.server.runs import check_drawable, decode_runs, encode_runs
from aczerots.server.served import ServedProject
from aczerots.slides.base import Tile
from aczerots.version import __version__

User = Annotated[str, Depends(current_user)]
PathPosition = Annotated[int, Path(ge=0, lt=2**31, description="Place of the tile in the pool.")]
QueryReading = Annotated[int, Query(ge=0, le=1, description="1 for the second of two independent readings.")]
Number = Annotated[int, Path(ge=0, lt=2**31, description="Number of the slide.")]
Level = Annotated[int, Path(ge=0, lt=64, description="Deep-zoom level; 0 is one pixel.")]
Place = Annotated[int, Path(ge=0, lt=2**31, description="Column or row of the deep-zoom tile.")]

Responses: TypeAlias = dict[int | str, dict[str, Any]]
COMMON: Responses = {
    400: {"model": models.Problem, "description": "The body is no JSON."},
    401: {"model": models.Problem, "description": "No valid token."},
    413: {"model": models.Problem, "description": "The body is too large or of unknown length."},
    422: {"model": models.Problem, "description": "The request cannot be used."},
    503: {"model": models.Problem, "description": "The database or the disk fails; try again."},
}
"""Answers that any route may give."""

MISSING: Responses = {404: {"model": models.Problem, "description": "No such thing."}}
CLASH: Responses = {409: {"model": models.Problem, "description": "Stale, or somebody else's; nothing is lost."}}

JPEG: Responses = {200: {"content": {"image/jpeg": {}}, "description": "JPEG."}}
XML: Responses = {200: {"content": {"application/xml": {}}, "description": "DZI."}}


# Runs with every request; a coroutine needs no switch to another thread.
async def _served(request: Request) -> ServedProject:
    served: ServedProject = request.app.state.served
    return served


Served = Annotated[ServedProject, Depends(_served)]
api = APIRouter(prefix="/api", dependencies=[Depends(HTTPBearer(auto_error=False))], responses=COMMON)


@api.get("/project", tags=["project"])
def project(user: User, served: Served) -> models.ProjectInfo:
    """The project, its classes and slides, and who asks."""
    return views.project_info(served, user, __version__)


@api.post("/tasks/next", tags=["tiles"])
def next_task(user: User, served: Served) -> models.NextTask:
    """A tile of the round that nobody else has; it is yours until the lease ends."""
    leased = served.store.leases.lease(user)
    task = None if leased is None else views.task_info(served, leased)
    return models.NextTask(task=task, left=served.store.left())


@api.post("/tiles/{position}/open", tags=["tiles"], responses={**MISSING, **CLASH})
def open_tile(position: PathPosition, user: User, served: Served, reading: QueryReading = 0) -> models.TaskInfo:
    """A certain tile, for a second look; it is yours until the lease ends."""
    _, pick = served.pick(position)
    for line in served.store.round_status(pick.round):
        if line.tile != position:
            continue
        if line.reading == reading and line.leased and line.kind is None and line.author != user:
            raise ConflictError(f"{line.author} is working on this tile", fix="Take another one")
        if line.reading != reading and line.author == user:
            raise ConflictError("you have drawn this tile", fix="The second reading is for somebody else")
    return views.task_info(served, served.store.leases.revisit(user, pick.round, position, reading))


def _mask(tile: Tile, runs: list[int], served: ServedProject) -> NDArray[np.uint8]:
    """The mask of a request: seen classes only, IGNORE outside the tile's box."""
    mask = decode_runs(runs, tile.size)
    check_drawable(mask, served.taxonomy)
    return only_inside(mask, tile)


@api.put("/tiles/{position}/work", tags=["tiles"], responses={**MISSING, **CLASH})
def save_work(position: PathPosition, work: models.WorkIn, user: User, served: Served) -> models.Kept:
    """Keep unfinished work and renew the lease."""
    mask = _mask(served.tile(position), work.mask, served)
    served.pick(position)
    content = {**work.model_dump(exclude={"mask", "version"}), "mask": encode_runs(mask)}
    served.store.leases.save_sketch(user, position, work.version, content)
    newest = served.store.answers.newest(position, work.reading)
    if newest is not None and newest.version != work.version:
        raise ConflictError(
            f"{newest.author} has handed in version {newest.version} meanwhile",
            fix="Your drawing is kept; load the newest before you hand in",
        )
    return models.Kept(expires=now_utc() + LEASE)


@api.post("/tiles/{position}/answer", tags=["tiles"], responses={**MISSING, **CLASH})
def answer(position: PathPosition, given: models.AnswerIn, user: User, served: Served) -> models.Receipt:
    """Hand in an answer. Once this has returned, it is kept for good."""
    tile, kind, mask = served.tile(position), AnswerKind(given.verdict), None
    if kind in WITH_MASK:
        if given.mask is None:
            raise InputError(f"the answer says {given.verdict} and has no mask", where="mask")
        mask = _mask(tile, given.mask, served)
    number, pick = served.pick(position)
    if given.reading >= pick.readings:
        raise NotFoundError(f"tile {position} is read once only")
    if given.draft_id is not None:
        draft = served.store.rounds.draft(position)
        if draft is None or not 1 <= given.draft_id <= draft.id:
            raise InputError(f"there is no draft {given.draft_id}", where=f"tile {position}")
    new = NewAnswer(
        tile=position,
        round=number,
        author=user,
        tool="page",
        kind=kind,
        based_on=given.version,
        mask=mask,
        comment=given.comment,
        seconds=given.seconds,
        draft=given.draft_id,
        reading=given.reading,
        key=f"{user}/{position}/{given.key}",
    )
    return models.Receipt(version=served.store.answers.add(new).version)


@api.post("/tiles/{position}/undo", tags=["tiles"], responses={**MISSING, **CLASH})
def undo(position: PathPosition, user: User, served: Served, reading: QueryReading = 0) -> models.Receipt:
    """Take back your newest answer on a tile; the one before it counts again."""
    served.pick(position)
    newest = served.store.answers.newest(position, reading)
    if newest is None or newest.author != user:
        raise ConflictError("the newest answer on this tile is not yours", fix="Hand in a new answer instead")
    try:
        undone = served.store.answers.undo(position, user, reading=reading, based_on=newest.version)
    except InputError as error:
        raise ConflictError(error.what, where=error.where) from error
    return models.Receipt(version=undone.version)


@api.post("/tiles/{position}/comment", tags=["tiles"], responses=MISSING)
def comment(position: PathPosition, given: models.CommentIn, user: User, served: Served) -> models.Done:
    """Leave a comment on a tile."""
    served.pick(position)
    served.store.people.note(user, "comment", {"tile": position, "text": given.text})
    return models.Done()


@api.get("/tiles/{position}/prediction", tags=["results"], responses=MISSING)
def prediction(position: PathPosition, served: Served) -> models.PredictionInfo:
    """The newest model's labels on a tile."""
    served.tile(position)
    draft = served.store.rounds.draft(position)
    if draft is None:
        raise NotFoundError(f"there is no prediction for tile {position}")
    return models.PredictionInfo(mask=encode_runs(decode_mask(draft.mask)))


@api.get("/tiles/{position}/image.jpeg", tags=["results"], response_class=Response, responses={**MISSING, **JPEG})
def tile_image(position: PathPosition, served: Served) -> Response:
    """The picture under the masks of a tile: its window as the model sees it."""
    tile = served.tile(position)
    slide = next(s for s in served.slides if s.id == tile.slide)
    return Response(deepzoom.encode(slide.read(tile.window, (tile.size, tile.size))), media_type="image/jpeg")


@api.get("/round", tags=["round"])
def round_view(served: Served) -> models.RoundInfo:
    """Where the round stands: what is left, class balance, time."""
    return views.round_info(served)


@api.get("/results", tags=["results"])
def results(served: Served) -> models.ResultsInfo:
    """What the rounds brought, and whether to stop."""
    return views.results_info(served)


@api.get("/job", tags=["round"])
def job(served: Served) -> models.JobInfo:
    """Where fitting and proposing stand."""
    return served.jobs.job


@api.post("/job", tags=["round"], status_code=202, responses=CLASH)
def start_job(user: User, served: Served) -> models.JobInfo:
    """Fit to all answers, measure, and propose the next round, in the background."""
    return served.jobs.start(user, served.advance)


@api.get("/slides/{number}.dzi", tags=["slides"], response_class=Response, responses={**MISSING, **XML})
def slide_description(number: Number, served: Served) -> Response:
    """The deep-zoom description of a slide."""
    return Response(deepzoom.describe(served.slide(number)), media_type="application/xml")


@api.get(
    "/slides/{number}_files/{level}/{column}_{row}.jpeg",
    tags=["slides"],
    response_class=Response,
    responses={**MISSING, **JPEG},
)
def slide_tile(number: Number, level: Level, column: Place, row: Place, served: Served) -> Response:
    """A tile of the deep-zoom image of a slide."""
    data = served.zoom.tile(served.slide(number), level, column, row)
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})
