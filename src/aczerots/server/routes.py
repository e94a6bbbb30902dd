"""What the page can ask. Every route is behind the gate of :mod:`aczerots.server.access`."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.security import HTTPBearer
from numpy.typing import NDArray

from aczerots import __version__
from aczerots.errors import InputError
from aczerots.server import deepzoom, models, views
from aczerots.server.access import current_user
from aczerots.server.jobs import Jobs
from aczerots.server.ports import Answer, Desk, UnknownTileError, Verdict, Work
from aczerots.server.runs import check_drawable, decode_runs, encode_runs
from aczerots.slides.base import Slide, Tile
from aczerots.taxonomy import IGNORE

User = Annotated[str, Depends(current_user)]
PathPosition = Annotated[int, Path(ge=0, lt=2**31, description="Place of the tile in the pool.")]
QueryReading = Annotated[int, Query(ge=0, le=1, description="1 for the second of two independent readings.")]
Number = Annotated[int, Path(ge=0, lt=2**31, description="Number of the slide.")]
Level = Annotated[int, Path(ge=0, lt=64, description="Deep-zoom level; 0 is one pixel.")]
Place = Annotated[int, Path(ge=0, lt=2**31, description="Column or row of the deep-zoom tile.")]

Answers: TypeAlias = dict[int | str, dict[str, Any]]
COMMON: Answers = {
    400: {"model": models.Problem, "description": "The body is no JSON."},
    401: {"model": models.Problem, "description": "No valid token."},
    413: {"model": models.Problem, "description": "The body is too large or of unknown length."},
    422: {"model": models.Problem, "description": "The request cannot be used."},
    503: {"model": models.Problem, "description": "The database or the disk fails; try again."},
}
"""Answers that any route may give."""

MISSING: Answers = {404: {"model": models.Problem, "description": "No such thing."}}
CLASH: Answers = {409: {"model": models.Problem, "description": "Stale, or somebody else's; nothing is lost."}}

JPEG: Answers = {200: {"content": {"image/jpeg": {}}, "description": "JPEG."}}
XML: Answers = {200: {"content": {"application/xml": {}}, "description": "DZI."}}


# These look something up and are asked for with every request: as coroutines they are spared the way to another thread.
async def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


async def _jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


async def _zoom(request: Request) -> deepzoom.DeepZoom:
    zoom: deepzoom.DeepZoom = request.app.state.zoom
    return zoom


DeskOf = Annotated[Desk, Depends(_desk)]
JobsOf = Annotated[Jobs, Depends(_jobs)]
ZoomOf = Annotated[deepzoom.DeepZoom, Depends(_zoom)]
api = APIRouter(prefix="/api", dependencies=[Depends(HTTPBearer(auto_error=False))], responses=COMMON)


@api.get("/project", tags=["project"])
def project(user: User, desk: DeskOf) -> models.ProjectInfo:
    """The project, its classes and slides, and who asks."""
    return models.ProjectInfo(
        name=desk.name,
        user=user,
        version=__version__,
        classes=[views.class_info(i, c) for i, c in enumerate(desk.taxonomy.classes)],
        slides=[
            models.SlideInfo(number=i, id=s.id, width=s.size[0], height=s.size[1], mpp=s.mpp)
            for i, s in enumerate(desk.slides)
        ],
    )


@api.post("/tasks/next", tags=["tiles"])
def next_task(user: User, desk: DeskOf) -> models.NextTask:
    """A tile of the round that nobody else has; it is yours until the lease ends."""
    task = desk.next_task(user)
    return models.NextTask(task=None if task is None else views.task_info(desk, task), left=desk.left())


@api.post("/tiles/{position}/open", tags=["tiles"], responses={**MISSING, **CLASH})
def open_tile(position: PathPosition, user: User, desk: DeskOf, reading: QueryReading = 0) -> models.TaskInfo:
    """A certain tile, for a second look; it is yours until the lease ends."""
    return views.task_info(desk, desk.open_task(user, position, reading))


def _mask(tile: Tile, runs: list[int], desk: Desk) -> NDArray[np.uint8]:
    """The mask of a request: seen classes only, IGNORE outside the tile's box."""
    mask = decode_runs(runs, tile.size)
    check_drawable(mask, desk.taxonomy)
    inside = np.full_like(mask, IGNORE)
    inside[tile.inner] = mask[tile.inner]
    return inside


@api.put("/tiles/{position}/work", tags=["tiles"], responses={**MISSING, **CLASH})
def save_work(position: PathPosition, work: models.WorkIn, user: User, desk: DeskOf) -> models.Kept:
    """Keep unfinished work and renew the lease."""
    mask = _mask(desk.tile(position), work.mask, desk)
    kept = Work(mask, work.comment, work.seconds, work.version, work.draft_id, work.reading)
    return models.Kept(expires=desk.save_work(user, position, kept))


@api.post("/tiles/{position}/answer", tags=["tiles"], responses={**MISSING, **CLASH})
def answer(position: PathPosition, given: models.AnswerIn, user: User, desk: DeskOf) -> models.Receipt:
    """Hand in an answer. Once this has returned, it is kept for good."""
    tile = desk.tile(position)
    drawn = given.mask if given.verdict in {Verdict.DRAWN, Verdict.ACCEPTED} else [IGNORE, tile.size**2]
    if drawn is None:
        raise InputError(f"the answer says {given.verdict} and has no mask", where="mask")
    kept = Answer(
        key=given.key,
        version=given.version,
        verdict=given.verdict,
        mask=_mask(tile, drawn, desk),
        seconds=given.seconds,
        draft_id=given.draft_id,
        comment=given.comment,
        reading=given.reading,
    )
    return models.Receipt(version=desk.answer(user, position, kept))


@api.post("/tiles/{position}/undo", tags=["tiles"], responses={**MISSING, **CLASH})
def undo(position: PathPosition, user: User, desk: DeskOf, reading: QueryReading = 0) -> models.Receipt:
    """Take back your newest answer on a tile; the one before it counts again."""
    return models.Receipt(version=desk.undo(user, position, reading))


@api.post("/tiles/{position}/comment", tags=["tiles"], responses=MISSING)
def comment(position: PathPosition, given: models.CommentIn, user: User, desk: DeskOf) -> models.Done:
    """Leave a comment on a tile."""
    desk.comment(user, position, given.text)
    return models.Done()


@api.get("/tiles/{position}/prediction", tags=["results"], responses=MISSING)
def prediction(position: PathPosition, desk: DeskOf) -> models.PredictionInfo:
    """The newest model's labels on a tile."""
    return models.PredictionInfo(mask=encode_runs(desk.prediction(position)))


@api.get("/tiles/{position}/image.jpeg", tags=["results"], response_class=Response, responses={**MISSING, **JPEG})
def tile_image(position: PathPosition, desk: DeskOf) -> Response:
    """The picture under the masks of a tile: its window as the model sees it."""
    tile = desk.tile(position)
    slide = next(s for s in desk.slides if s.id == tile.slide)
    return Response(deepzoom.encode(slide.read(tile.window, (tile.size, tile.size))), media_type="image/jpeg")


@api.get("/round", tags=["round"])
def round_view(desk: DeskOf) -> models.RoundInfo:
    """Where the round stands: what is left, class balance, time."""
    return views.round_info(desk.round_status())


@api.get("/results", tags=["results"])
def results(desk: DeskOf) -> models.ResultsInfo:
    """What the rounds brought, and whether to stop."""
    return views.results_info(desk, desk.results())


@api.get("/job", tags=["round"])
def job(jobs: JobsOf) -> models.JobInfo:
    """Where fitting and proposing stand."""
    return models.JobInfo.model_validate(jobs.job, from_attributes=True)


@api.post("/job", tags=["round"], status_code=202, responses=CLASH)
def start_job(user: User, desk: DeskOf, jobs: JobsOf) -> models.JobInfo:
    """Fit to all answers, measure, and propose the next round, in the background."""
    return models.JobInfo.model_validate(jobs.start(user, desk.advance), from_attributes=True)


def _slide(desk: Desk, number: int) -> Slide:
    if number >= len(desk.slides):
        raise UnknownTileError(f"there is no slide {number}")
    return desk.slides[number]


@api.get("/slides/{number}.dzi", tags=["slides"], response_class=Response, responses={**MISSING, **XML})
def slide_description(number: Number, desk: DeskOf) -> Response:
    """The deep-zoom description of a slide."""
    return Response(deepzoom.describe(_slide(desk, number)), media_type="application/xml")


@api.get(
    "/slides/{number}_files/{level}/{column}_{row}.jpeg",
    tags=["slides"],
    response_class=Response,
    responses={**MISSING, **JPEG},
)
def slide_tile(number: Number, level: Level, column: Place, row: Place, desk: DeskOf, zoom: ZoomOf) -> Response:
    """A tile of the deep-zoom image of a slide."""
    data = zoom.tile(_slide(desk, number), level, column, row)
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})
