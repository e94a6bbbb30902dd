"""What the newest model sees, in the forms that clients read."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from fastapi import Body, Response

from aczerots.errors import InputError
from aczerots.server.monai import labels, models
from aczerots.server.monai.common import NAMED, FormOf, ImageName, bounded, gives, new_router, safe_name, sends
from aczerots.server.monai.images import find_image, inside
from aczerots.server.monai.multipart import FormField, write_form
from aczerots.server.routes import MISSING, Served

inference = new_router()


@inference.post(
    "/infer/wsi/{model}",
    dependencies=NAMED,
    response_class=Response,
    responses={**MISSING, **gives("application/xml", "application/json")},
)
def infer_region(
    served: Served,
    image: ImageName,
    region: Annotated[models.Region | None, Body()] = None,
    output: Literal["asap", "dsa", "json"] = "dsa",
) -> Response:
    """What the newest model sees in a region of a slide, as ASAP file or for the Digital Slide Archive."""
    wanted, found = region or models.Region(), find_image(served.slides, image)
    box = found.box if found.patch is not None else inside(found.slide, wanted.location, wanted.size)
    seen = served.segment(found.slide, bounded(box))
    about = seen, box, found.frame, found.slide.id, served.taxonomy, wanted.min_poly_area
    if output == "asap":
        return Response(labels.write_asap_label(*about), media_type="application/xml")
    return Response(labels.write_dsa_label(*about), media_type="application/json")


@inference.post(
    "/infer/{model}",
    dependencies=NAMED,
    response_class=Response,
    responses={**MISSING, **gives("multipart/form-data", "image/png")},
    openapi_extra=sends(params={"type": "string"}),
)
def infer(form: FormOf, served: Served, image: ImageName, output: Literal["all", "image"] = "all") -> Response:
    """What the newest model sees in an image, as a mask."""
    if "file" in form:
        raise InputError("images of clients are not segmented here", where="file", fix="Name an image of the project")
    found = find_image(served.slides, image)
    data = labels.write_mask(served.segment(found.slide, bounded(found.box)))
    if output == "image":
        return Response(data, media_type="image/png")
    about = {"label_names": labels.label_numbers(served.taxonomy)}
    fields = {
        "params": FormField(json.dumps(about).encode(), kind="application/json"),
        "image": FormField(data, f"{safe_name(image)}.png", "image/png"),
    }
    kind, body = write_form(fields)
    return Response(body, media_type=kind)
