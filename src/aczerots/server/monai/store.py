"""Images and labels: the datastore of the protocol."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query, Response
from fastapi.responses import FileResponse

from aczerots.errors import InputError
from aczerots.server import deepzoom
from aczerots.server.monai import labels, models
from aczerots.server.monai.common import (
    FILE,
    ExchangeOf,
    FormOf,
    ImageName,
    bounded,
    gives,
    new_router,
    safe_name,
    sends,
)
from aczerots.server.monai.images import Image, find_image, patch_name
from aczerots.server.monai.ports import Exchange
from aczerots.server.ports import ConflictError
from aczerots.server.routes import CLASH, MISSING, DeskOf, User

Tag = Annotated[str, Query(max_length=200)]
store = new_router()


def stats(exchange: Exchange) -> models.StoreInfo:
    """How many tiles were asked for, and how many have an answer."""
    asked = exchange.asked()
    done = sum(a.answered for a in asked)
    return models.StoreInfo(total=len(asked), completed=done, label_tags={"final": done})


@store.get("/datastore/")
def datastore(
    desk: DeskOf, exchange: ExchangeOf, output: Literal["stats", "train", "all"] = "stats"
) -> models.StoreInfo | models.Store | list[models.Labelled]:
    """Tiles that were asked for, as images; how many have an answer."""
    if output == "stats":
        return stats(exchange)
    asked = [(patch_name(a.tile), a.answered) for a in exchange.asked()]
    if output == "train":
        return [models.Labelled(image=name, label=name) for name, answered in asked if answered]
    objects = {
        name: models.Entry(image={"ext": ".png"}, labels={"tags": {"final": {}} if answered else {}})
        for name, answered in asked
    }
    return models.Store(name=desk.name, description="aczerots", objects=objects)


@store.head("/datastore/image", responses=MISSING, response_class=Response, operation_id="image_exists")
def image_exists(image: ImageName, desk: DeskOf) -> Response:
    """Whether there is such an image."""
    find_image(desk.slides, image)
    return Response()


@store.get("/datastore/image", responses={**MISSING, **gives("image/png", "application/octet-stream")})
def download_image(image: ImageName, desk: DeskOf, exchange: ExchangeOf) -> Response:
    """The file of a slide, or a part of it as PNG."""
    found = find_image(desk.slides, image)
    if found.patch is None:
        path = exchange.file(found.slide.id)
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)
    box = bounded(found.box)
    pixels = found.slide.read(box, (box.width, box.height))
    return Response(deepzoom.encode(pixels, "PNG"), media_type="image/png")


@store.put("/datastore/", responses=MISSING, openapi_extra=sends(file=FILE, params={"type": "string"}))
@store.put(
    "/datastore/image",
    responses=MISSING,
    openapi_extra=sends(file=FILE, params={"type": "string"}),
    operation_id="keep_image",
)
def name_image(image: ImageName, desk: DeskOf, form: FormOf) -> models.Uploaded:
    """Part of a slide of the project: its name is taken, its pixels are here already. Other images are refused."""
    if "file" not in form:
        raise InputError("the form has no file", where="file")
    find_image(desk.slides, image)
    return models.Uploaded(image=image)


@store.get("/datastore/label", responses={**MISSING, **gives("image/png")}, operation_id="download_label")
def download_label(label: ImageName, desk: DeskOf, exchange: ExchangeOf, tag: Tag = "final") -> Response:
    """What counts as drawn in an image, as a mask."""
    _final(tag)
    found = find_image(desk.slides, label)
    data = labels.write_mask(exchange.drawn(found.slide.id, bounded(found.box)))
    headers = {"Content-Disposition": f'attachment; filename="{safe_name(label)}.png"'}
    return Response(data, media_type="image/png", headers=headers)


@store.put(
    "/datastore/label",
    responses={**MISSING, **CLASH},
    openapi_extra=sends(label=FILE, params={"type": "string"}),
)
def save_label(
    image: ImageName,
    user: User,
    desk: DeskOf,
    exchange: ExchangeOf,
    form: FormOf,
    tag: Tag = "final",
) -> models.Saved:
    """Hand in drawings for a slide or a part of it. Once this has returned, they are kept for good."""
    _final(tag)
    if "label" not in form:
        raise InputError("the form has no label", where="label")
    found = find_image(desk.slides, image)
    if form["label"].data.startswith(b"\x89PNG"):
        bounded(found.box)
    drawings = labels.read_label(form["label"].data, found, desk.taxonomy)
    taken = exchange.take(user, found.slide.id, drawings, found.patch)
    _complain(taken.answers + taken.unchanged, taken.stale, found)
    return models.Saved(
        image=image,
        label=image,
        answers=taken.answers,
        unchanged=taken.unchanged,
        untouched=taken.untouched,
        stale=taken.stale,
        unused=[f"{u.number}: {u.reason}" for u in taken.unused],
    )


def _final(tag: str) -> None:
    if tag not in {"", "final"}:
        raise InputError(f"labels with the tag {tag!r} are not kept", where="tag", fix="Hand in finished labels")


def _complain(kept: int, stale: int, image: Image) -> None:
    """A label that changed nothing must not look like one that was kept."""
    if kept:
        return
    if stale:
        raise ConflictError(
            "somebody else has answered for these tiles; your drawing is kept aside",
            where=image.slide.id,
            fix="Select a tile and hand in its region",
        )
    raise InputError("nothing was drawn in a tile that was asked for", where=image.slide.id, fix="Get the next tile")
