"""What a project offers, the next tile, fitting, and the trail.

Paths, fields and answers are those that the QuPath extension (``plugins/qupath``) and the Python client
(``monailabel/client``) of MONAI Label use; https://github.com/Project-MONAI/MONAILabel.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Body, Path, Query, Response

from aczerots.errors import NotFoundError
from aczerots.server.models import JobInfo
from aczerots.server.monai import labels, models
from aczerots.server.monai.common import MODEL, NAMED, gives, new_router
from aczerots.server.monai.datastore import stats
from aczerots.server.monai.images import find_image, patch_name
from aczerots.server.routes import CLASH, MISSING, Served, User
from aczerots.slides.frame import frame_of
from aczerots.version import __version__

tasks = new_router()


@tasks.get("/info/")
def info(served: Served) -> models.Info:
    """The project: classes, model, strategy."""
    numbers = labels.label_numbers(served.taxonomy)
    advance = "Fit to all answers and propose the next round"
    return models.Info(
        name=served.name,
        description="aczerots",
        version=__version__,
        labels=numbers,
        models={MODEL: models.ModelInfo(description="Newest model of the project", labels=numbers)},
        trainers={MODEL: models.TaskInfo(description=advance)},
        strategies={served.strategy: models.TaskInfo(description="The next tile of the round")},
        datastore=stats(served),
    )


@tasks.post("/activelearning/{strategy}", responses=MISSING, response_model_exclude_none=True)
def next_sample(
    strategy: Annotated[str, Path(max_length=200)],
    user: User,
    served: Served,
    wanted: Annotated[models.SampleRequest | None, Body()] = None,
) -> models.Sample:
    """The next tile of the round for you; it is yours until the lease ends."""
    if strategy != served.strategy:
        raise NotFoundError(f"there is no strategy {strategy!r}", fix=f"The strategy is {served.strategy}")
    asked = wanted or models.SampleRequest()
    slide = find_image(served.slides, asked.image).slide.id if asked.image else None
    leased = served.store.leases.lease(user, slide=slide)
    if leased is None:
        if slide is not None:
            raise NotFoundError("no tile is left for you on this slide", where=slide, fix="Open another slide")
        return models.Sample()
    tile = served.tile(leased.pick.tile)
    shown = served.slide_of(tile)
    b = frame_of(shown).outward(tile.box)
    # QuPath shows whole slides and wants to know where to look; others load the image of the tile.
    name = tile.slide if asked.image_size is not None else patch_name(tile, shown)
    return models.Sample(id=name, name=f"{name}.png", path="", bbox=[b.x, b.y, b.width, b.height])


@tasks.get("/train/", responses=MISSING)
def train_status(served: Served, check_if_running: bool = False) -> models.TrainTask:
    """Where fitting stands; not found if it was never started, or is not running and that was asked."""
    job = served.jobs.job
    if job.state == "idle" or (check_if_running and job.state != "running"):
        raise NotFoundError("no fit is running" if check_if_running else "no fit was started yet")
    return _task(job)


@tasks.post("/train/", responses=CLASH, operation_id="train_all")
def train_all(user: User, served: Served, params: Annotated[dict[str, Any] | None, Body()] = None) -> models.TrainTask:
    """Fit to all answers and propose the next round, in the background; settings are those of the project."""
    del params  # what clients say about epochs does not fit this model
    return _task(served.jobs.start(user, served.advance))


@tasks.post("/train/{model}", dependencies=NAMED, responses={**MISSING, **CLASH})
def train(user: User, served: Served, params: Annotated[dict[str, Any] | None, Body()] = None) -> models.TrainTask:
    """The same; the only model has a name."""
    return train_all(user, served, params)


@tasks.delete("/train/", responses=MISSING)
def train_stop(user: User, served: Served) -> models.TrainTask:
    """Stop fitting at the next step; the round stays as it was."""
    if served.jobs.job.state != "running":
        raise NotFoundError("no fit is running")
    return _task(served.jobs.stop(user))


def _task(job: JobInfo) -> models.TrainTask:
    status: Literal["RUNNING", "DONE", "ERROR"] = "RUNNING"
    if job.state in {"done", "failed"}:
        status = "DONE" if job.state == "done" else "ERROR"
    details = [job.message] if job.message else []
    place = {"stage": job.stage, "done": job.done, "total": job.total}
    return models.TrainTask(id=f"fit-{job.user}", model=MODEL, status=status, details=details, **place)


@tasks.get("/logs/", response_class=Response, responses=gives("text/plain"))
def logs(served: Served, lines: Annotated[int, Query(ge=1, le=10_000)] = 300) -> Response:
    """The newest entries of the audit trail."""
    events = served.store.people.events()[-lines:]
    told = [f"{e.time:%Y-%m-%d %H:%M:%S} {e.user or '-'} {e.what} {dict(e.about)}\n" for e in events]
    return Response("".join(told), media_type="text/plain")
