"""Requests that are too large are refused before they are read."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LARGEST = 32 * 2**20
"""Bytes of the largest body; a mask of 2048 x 2048 pixels with short runs fits."""


class Bounded:
    """ASGI layer that wants a stated, bounded length of every body.

    Args:
        app: What is guarded.
        largest: Bytes.
    """

    def __init__(self, app: ASGIApp, largest: int = LARGEST) -> None:
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or refuse it; the server reads no more than the stated length."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            length = headers.get("content-length", "0")
            stated = "transfer-encoding" not in headers and length.isdecimal()
            if not stated or int(length) > self._largest:
                problem = f"a request must state its length and have at most {self._largest} bytes"
                await JSONResponse({"detail": problem}, status_code=413)(scope, receive, send)
                return
        await self._app(scope, receive, send)
