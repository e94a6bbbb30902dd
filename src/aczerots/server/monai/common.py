"""What all routes of the protocol share: what they are given, how they are described."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.security import HTTPBearer

from aczerots.errors import InputError, NotFoundError
from aczerots.server.monai.multipart import FormField, read_form
from aczerots.server.routes import COMMON
from aczerots.slides.base import Box

MODEL = "aczerots"
"""Name of the only model and trainer."""

LARGEST = 4096 * 4096
"""Level-0 pixels of a region that is inferred or sent in one request."""

Form: TypeAlias = dict[str, FormField]


async def _form(request: Request) -> Form:
    return read_form(request.headers.get("content-type", ""), await request.body())


async def _named(model: Annotated[str, Path(max_length=200)]) -> None:
    if model != MODEL:
        raise NotFoundError(f"there is no model {model!r}", fix=f"The model is called {MODEL}")


FormOf = Annotated[Form, Depends(_form)]
NAMED = [Depends(_named)]
"""Dependencies of routes that name the model."""

ImageName = Annotated[str, Query(min_length=1, max_length=1000, description="A slide, or a part of it.")]

FILE = {"type": "string", "format": "binary"}


def sends(**fields: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI description of a form."""
    schema = {"type": "object", "properties": fields, "required": [n for n, f in fields.items() if f is FILE]}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def gives(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI description of an answer that is no JSON of a model."""
    return {200: {"description": "As asked for.", "content": {kind: {} for kind in kinds}}}


def new_router() -> APIRouter:
    """A router for a part of the protocol; reached with a token in the address, as ``/monai/TOKEN/...``."""
    return APIRouter(
        prefix="/api/monai", tags=["monai"], dependencies=[Depends(HTTPBearer(auto_error=False))], responses=COMMON
    )


def bounded(box: Box) -> Box:
    """The box, if it is small enough for one request.

    Raises:
        InputError: It has more than :data:`LARGEST` pixels.
    """
    if box.area > LARGEST:
        side = int(LARGEST**0.5)
        raise InputError(f"a region of {box.width} x {box.height} is too large", fix=f"At most {side} x {side} pixels")
    return box


def safe_name(name: str) -> str:
    """A name that is safe in a header and as the name of a file."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name).lstrip(".")
