"""The web application of a project: routes, gate, errors as sentences, and the page itself."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp

from aczerots import __version__
from aczerots.errors import AczerotsError, ConflictError, InputError, NotFoundError, SettingsError, StorageError
from aczerots.server.access import Gate, Tokens
from aczerots.server.bounded import Bounded
from aczerots.server.monai.datastore import images
from aczerots.server.monai.inference import inference
from aczerots.server.monai.routes import tasks
from aczerots.server.routes import api
from aczerots.server.served import ServedProject

WEB = Path(__file__).parent / "web"
"""The built page; made by ``make web``."""

_STATUS = {ConflictError: 409, NotFoundError: 404, InputError: 422, SettingsError: 422, StorageError: 503}


def make_app(served: ServedProject) -> FastAPI:
    """The application without its gate, for :func:`guarded` and for its OpenAPI description."""
    app = FastAPI(
        title="aczerots",
        version=__version__,
        summary="Annotate the tiles that help most",
        openapi_url="/api/openapi.json",
        docs_url=None,  # the usual pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.served = served
    for kind in _STATUS:
        app.add_exception_handler(kind, _refuse)
    app.add_exception_handler(RequestValidationError, _explain)
    for part in (api, tasks, inference, images):
        app.include_router(part)
    app.mount("/static", StaticFiles(directory=WEB), name="static")
    app.add_api_route("/", _page, include_in_schema=False)
    app.add_middleware(Bounded)
    return app


def guarded(app: FastAPI, tokens: Tokens, cookie: str = "aczerots") -> ASGIApp:
    """The application behind its gate: nothing answers without a valid token."""
    return Gate(app, tokens, cookie)


def _page() -> FileResponse:
    """The page; the rest it loads from ``static/``."""
    return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-store"})


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    """A deliberate error as a sentence with the status that fits."""
    del request
    status = next(code for kind, code in _STATUS.items() if isinstance(error, kind))
    assert isinstance(error, AczerotsError)
    return JSONResponse({"detail": str(error)}, status_code=status)


async def _explain(request: Request, error: Exception) -> JSONResponse:
    """The first complaint about a request as a sentence."""
    del request
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "request"
    return JSONResponse({"detail": f"{where}: {first['msg'].lower()}"}, status_code=422)
