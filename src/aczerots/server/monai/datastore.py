"""Images and labels: the datastore of the protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from fastapi import Query, Response
from fastapi.responses import FileResponse

from aczerots.errors import ConflictError, InputError
from aczerots.project.ingest import Ingested, Intake, take_drawings
from aczerots.project.regions import drawn_labels
from aczerots.server import deepzoom
from aczerots.server.monai import labels, models
from aczerots.server.monai.common import FILE, FormOf, ImageName, bounded, gives, new_router, safe_name, sends
from aczerots.server.monai.images import find_image, patch_name
from aczerots.server.routes import CLASH, MISSING, Served, User
from aczerots.server.served import ServedProject

Tag = Annotated[str, Query(max_length=200)]
TOOL = "monai label"
"""What answers from these clients are marked with."""

images = new_router()


def _asked(served: ServedProject) -> list[tuple[str, bool]]:
    """(name of the image, whether it has an answer) of every tile that a round asked for."""
    answered = served.store.answers.answered()
    positions = sorted({pick.tile for pick in served.store.rounds.picks()})
    asked = [(served.tile(i), i in answered) for i in positions]
    return [(patch_name(tile, served.slide_of(tile)), done) for tile, done in asked]


def stats(served: ServedProject) -> models.StoreInfo:
    """How many tiles were asked for, and how many have an answer."""
    asked = _asked(served)
    done = sum(answered for _, answered in asked)
    return models.StoreInfo(total=len(asked), completed=done, label_tags={"final": done})


@images.get("/datastore/")
def datastore(
    served: Served, output: Literal["stats", "train", "all"] = "stats"
) -> models.StoreInfo | models.Store | list[models.Labelled]:
    """Tiles that were asked for, as images; how many have an answer."""
    if output == "stats":
        return stats(served)
    asked = _asked(served)
    if output == "train":
        return [models.Labelled(image=name, label=name) for name, answered in asked if answered]
    objects = {
        name: models.Entry(image={"ext": ".png"}, labels={"tags": {"final": {}} if answered else {}})
        for name, answered in asked
    }
    return models.Store(name=served.name, description="aczerots", objects=objects)


@images.head("/datastore/image", responses=MISSING, response_class=Response, operation_id="image_exists")
def image_exists(image: ImageName, served: Served) -> Response:
    """Whether there is such an image."""
    find_image(served.slides, image)
    return Response()


@images.get("/datastore/image", responses={**MISSING, **gives("image/png", "application/octet-stream")})
def download_image(image: ImageName, served: Served) -> Response:
    """The file of a slide, or a part of it as PNG."""
    found = find_image(served.slides, image)
    if found.patch is None:
        record = next(r for r in served.store.rounds.slides() if r.id == found.slide.id)
        path = served.project.folder.resolve() / record.path
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)
    box = bounded(found.box)
    pixels = found.slide.read(box, (box.width, box.height))
    return Response(deepzoom.encode(pixels, "PNG"), media_type="image/png")


@images.put("/datastore/", responses=MISSING, openapi_extra=sends(file=FILE, params={"type": "string"}))
@images.put(
    "/datastore/image",
    responses=MISSING,
    openapi_extra=sends(file=FILE, params={"type": "string"}),
    operation_id="keep_image",
)
def name_image(image: ImageName, served: Served, form: FormOf) -> models.Uploaded:
    """Part of a slide of the project: its name is taken, its pixels are here already. Other images are refused."""
    if "file" not in form:
        raise InputError("the form has no file", where="file")
    find_image(served.slides, image)
    return models.Uploaded(image=image)


@images.get("/datastore/label", responses={**MISSING, **gives("image/png")}, operation_id="download_label")
def download_label(label: ImageName, served: Served, tag: Tag = "final") -> Response:
    """What counts as drawn in an image, as a mask."""
    _final(tag)
    found = find_image(served.slides, label)
    data = labels.write_mask(drawn_labels(served.store, found.slide.id, bounded(found.box)))
    headers = {"Content-Disposition": f'attachment; filename="{safe_name(label)}.png"'}
    return Response(data, media_type="image/png", headers=headers)


@images.put(
    "/datastore/label", responses={**MISSING, **CLASH}, openapi_extra=sends(label=FILE, params={"type": "string"})
)
def save_label(image: ImageName, user: User, served: Served, form: FormOf, tag: Tag = "final") -> models.Saved:
    """Hand in drawings for a slide or a part of it. Once this has returned, they are kept for good."""
    _final(tag)
    if "label" not in form:
        raise InputError("the form has no label", where="label")
    found = find_image(served.slides, image)
    if form["label"].data.startswith(b"\x89PNG"):
        bounded(found.box)
    drawings = labels.read_label(form["label"].data, found, served.taxonomy)
    # The drafts of a part count as looked at; a whole slide leaves alone what somebody else has answered.
    part = found.patch is not None
    intake = Intake(user, TOOL, accept=part, yields=not part, patch=found.patch)
    slide = found.slide.id
    report = Ingested(Path(slide), slide, len(drawings.drawings), unused=list(drawings.unused))
    take_drawings(served.project, drawings, intake, report)
    _complain(report)
    return models.Saved(
        image=image,
        label=image,
        answers=report.answers,
        unchanged=report.unchanged,
        untouched=report.untouched,
        stale=report.stale,
        unused=[f"{u.number}: {u.reason}" for u in report.unused],
    )


def _final(tag: str) -> None:
    if tag not in {"", "final"}:
        raise InputError(f"labels with the tag {tag!r} are not kept", where="tag", fix="Hand in finished labels")


def _complain(report: Ingested) -> None:
    """A label that changed nothing must not look like one that was kept."""
    if report.answers or report.unchanged:
        return
    if report.stale:
        raise ConflictError(
            "somebody else has answered for these tiles; your drawing is kept aside",
            where=report.slide,
            fix="Select a tile and hand in its region",
        )
    raise InputError("nothing was drawn in a tile that was asked for", where=report.slide, fix="Get the next tile")
