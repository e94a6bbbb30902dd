"""The web application of a project: routes, gate, errors as sentences, and the page itself."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from aczerots.errors import AczerotsError, ConflictError, InputError, NotFoundError, SettingsError, StorageError
from aczerots.server.monai.datastore import images
from aczerots.server.monai.inference import inference
from aczerots.server.monai.routes import tasks
from aczerots.server.routes import api
from aczerots.server.served import ServedProject
from aczerots.version import __version__

WEB = Path(__file__).parent / "web"
"""The built page; made by ``make web``."""

LARGEST = 32 * 2**20
"""Bytes of the largest body; a mask of 2048 x 2048 pixels with short runs fits."""

_STATUS = {ConflictError: 409, NotFoundError: 404, InputError: 422, SettingsError: 422, StorageError: 503}


def make_app(served: ServedProject) -> FastAPI:
    """The application without its gate (:class:`~aczerots.server.access.Gate`)."""
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
    app.add_middleware(BoundedRequests)
    return app


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


class BoundedRequests:
    """ASGI layer that refuses requests of more than :data:`LARGEST` bytes before they are read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or refuse it; the server reads no more than the stated length."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            length = headers.get("content-length", "0")
            stated = "transfer-encoding" not in headers and length.isdecimal()
            if not stated or int(length) > LARGEST:
                problem = f"a request must state its length and have at most {LARGEST} bytes"
                await JSONResponse({"detail": problem}, status_code=413)(scope, receive, send)
                return
        await self._app(scope, receive, send)
