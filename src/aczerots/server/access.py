"""Access: a request without the token of a user is refused before anything else happens."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aczerots.annotation.store.people import hash_token

_EMPTY = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
"""Hash of nothing: the viewer asks whether its style is there, and an empty one answers."""

CLIENTS = "/monai/"
"""Start of the paths for clients of MONAI Label; their token follows."""

SAFETY = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'self'; style-src 'self' {_EMPTY}; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every answer: the page loads nothing from elsewhere and cannot be put into another page."""


REFUSAL = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    "<title>aczerots</title><h1>This link is not valid</h1><p>It may be an old one. The person who runs the server "
    "prints a new one with <code>aczerots annotate PROJECT --user NAME</code>.</p><p>Drawings that you had not handed "
    "in are kept, and are there again when you open the new link in this browser.</p></html>"
)
"""Shown to people who open the page without a valid token."""


FRESH = 1.0
"""Seconds for which a token of the project counts as valid without asking the database again."""


class Tokens:
    """Tokens that are valid while the server runs, by user, and those of the project; only hashes are held.

    ``known`` finds the user of a token in the project; ``clock`` gives seconds that only grow.
    """

    def __init__(
        self,
        tokens: Mapping[str, str],
        known: Callable[[str], str | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hashes = {user: hash_token(token) for user, token in tokens.items()}
        self._known, self._clock = known, clock
        self._seen: dict[str, tuple[str, float]] = {}

    def user(self, token: str) -> str | None:
        """The user of a token, None if there is none; may ask the database."""
        found = self.recent(token)
        if found is not None or self._known is None:
            return found
        found = self._known(token)
        if found is not None:  # wrong ones are not kept: they could fill the memory
            self._seen[hash_token(token)] = found, self._clock()
        return found

    def recent(self, token: str) -> str | None:
        """The user of a token as far as that is known without asking; comparing takes equally long for any token."""
        given, found = hash_token(token), None
        for name, digest in self._hashes.items():
            if hmac.compare_digest(given, digest):
                found = name
        # A digest gives away nothing about the token, nor does the time to look it up.
        user, when = self._seen.get(given, (None, 0.0))
        return user if found is None and user is not None and self._clock() - when < FRESH else found


class Gate:
    """ASGI layer around the app that wants a token: as header, cookie, link or part of the address.

    ``/?token=...`` is the link: it sets the cookie and leads to ``/``, so that the token stays in no history and
    in no log of a later request. Every request let in carries the user's name in ``scope["state"]["user"]``.

    Clients of MONAI Label can be given an address only: ``/monai/TOKEN/...`` is the same as ``/api/monai/...`` with a
    header. Browsers share cookies between ports, so each server needs a name of its own for the cookie.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens, cookie: str = "aczerots") -> None:
        self._app = app
        self._tokens = tokens
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets
            return
        send = _with_safety(send)
        # Only the page itself can be a link; other requests need no switch to another thread.
        answer = await run_in_threadpool(self._link, scope) if scope["path"] == "/" else None
        if answer is not None:
            await answer(scope, receive, send)
            return
        scope, token = _without_token(scope)
        if token is None:
            token = self._token(Headers(scope=scope))
        user = None
        if token is not None:
            # Tokens not seen lately need the database and so another thread, which costs more than most requests.
            user = self._tokens.recent(token) or await run_in_threadpool(self._tokens.user, token)
        if user is None:
            await _refusal(scope)(scope, receive, send)
            return
        scope.setdefault("state", {})["user"] = user
        await self._app(scope, receive, send)

    def _token(self, headers: Headers) -> str | None:
        """The token of a request, as header or cookie."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return token.strip()
        jar = SimpleCookie()
        try:
            jar.load(headers.get("cookie", ""))
        except CookieError:
            return None
        morsel = jar.get(self._cookie)
        return None if morsel is None else morsel.value

    def _link(self, scope: Scope) -> Response | None:
        """The answer to a followed link, None for any other request."""
        if scope["method"] != "GET":
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        token = query.pop("token", [""])[-1]
        if not token or self._tokens.user(token) is None:
            return None
        rest = f"?{urlencode(query, doseq=True)}" if query else ""
        answer = RedirectResponse("./" + rest, status_code=303)
        secure = scope.get("scheme") == "https"
        answer.set_cookie(self._cookie, token, httponly=True, samesite="lax", secure=secure, path="/")
        return answer


def _refusal(scope: Scope) -> Response:
    """The answer without a valid token: a page for people who open the page in a browser, else JSON."""
    headers = {"WWW-Authenticate": "Bearer"}
    if scope["path"] == "/" and "text/html" in Headers(scope=scope).get("accept", ""):
        return HTMLResponse(REFUSAL, status_code=401, headers=headers)
    said = {"detail": "this needs a valid token; open the link that `aczerots annotate` printed"}
    return JSONResponse(said, status_code=401, headers=headers)


def _without_token(scope: Scope) -> tuple[Scope, str | None]:
    """(the request without the token in its address, the token) of a client of MONAI Label.

    QuPath sends JSON without saying so.
    """
    rest = scope["path"].removeprefix(CLIENTS)
    if rest == scope["path"]:
        return scope, None
    token, _, path = rest.partition("/")
    path = f"/api/monai/{path}"
    headers = list(scope["headers"])
    if "content-type" not in Headers(scope=scope):
        headers.append((b"content-type", b"application/json"))
    return {**scope, "path": path, "raw_path": path.encode("utf-8", "surrogateescape"), "headers": headers}, token


_SAFETY = [(k.lower().encode(), v.encode()) for k, v in SAFETY.items()]


def _with_safety(send: Send) -> Send:
    """``send`` that adds the headers of :data:`SAFETY`."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *_SAFETY]}
        await send(message)

    return wrapped


async def current_user(request: Request) -> str:
    """The user who sent the request, as the gate found out."""
    user: str = request.state.user
    return user
