"""Serves the annotation page of a project: from the folder to the listening server."""

from __future__ import annotations

import getpass
import hashlib
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from aczerots.annotation.store import people
from aczerots.engine.progress import Progress
from aczerots.errors import MissingExtraError, SettingsError
from aczerots.project.folder import Project, open_project
from aczerots.project.rounds import fit_round, measure_round, propose_round
from aczerots.project.running import Running

if TYPE_CHECKING:
    from starlette.types import ASGIApp

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Link:
    """The addresses of a user, with the token: for the browser, and for QuPath and other clients of MONAI Label."""

    user: str
    url: str
    clients: str


def next_round(project: Project, running: Running) -> None:
    """Fit to all answers, propose the next round, and measure the one before."""
    # The next round first: annotators go on while the one before is measured.
    fit_round(project, running, measure=False)
    propose_round(project, running)
    if project.settings.folds > 1:
        measure_round(project, running, needed=False)


def annotate_project(
    folder: Path,
    running: Running,
    *,
    host: str = LOOPBACK[0],
    port: int = 8750,
    users: Sequence[str] = (),
    ready: Callable[[Sequence[Link]], None],
) -> None:
    """Serve the page until interrupted.

    Args:
        folder: Project folder.
        running: How to fit and to propose.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        users: Names that get a new link each; links given to them before stop working.
        ready: Is told the links, the local user's first, once the server listens.

    Raises:
        MissingExtraError: The extra ``annotate`` is not installed.
        SettingsError: The port is taken or the address is not of this machine.
        InputError: No project there, or a slide is missing.
    """
    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        raise MissingExtraError("annotate", "the annotation page")
    from aczerots.project.regions import RegionSegmenter
    from aczerots.server.access import CLIENTS, Gate, Tokens
    from aczerots.server.app import make_app
    from aczerots.server.served import ServedProject

    with open_project(folder) as project:

        def advance(progress: Progress) -> None:
            # A copy opens the slides that are there now.
            next_round(replace(project), replace(running, progress=progress))

        served = ServedProject(project, advance, RegionSegmenter(project, running).labels)
        with listen(host, port) as listening:
            tokens = {getpass.getuser(): people.new_token()} | {name: project.store.people.add(name) for name in users}
            home = _home(listening)
            links = [
                Link(name, f"{home}/?{urlencode({'token': token})}", f"{home}{CLIENTS}{token}")
                for name, token in tokens.items()
            ]
            local = {links[0].user: tokens[links[0].user]} if links[0].user not in users else {}
            # Users of the project are looked up while the server runs, so that a link can be revoked at any time.
            gate = Tokens(local, project.store.people.of_token)
            cookie = "aczerots-" + hashlib.sha256(str(project.folder.resolve()).encode()).hexdigest()[:8]
            ready(links)
            _run(Gate(make_app(served), gate, cookie), listening)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        SettingsError: The port is taken or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without the protocol, the event loop leaves Nagle's algorithm on and every reply waits 40 ms.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A server that was killed leaves its port waiting; the next one may take it at once.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(128)
    except OSError as error:
        made.close()
        reason = (error.strerror or "it cannot be listened on").lower()
        raise SettingsError(reason, where=f"{host}:{port}", fix="Choose another --port or --host") from error
    return made


def _home(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


SWITCH = 0.0005
"""Seconds after which a busy thread lets others go on. Every statement of a database gives way to other threads; with
Python's 5 ms, a request of ten statements waits ten times that long behind somebody else's, or behind a fit."""


def _run(app: ASGIApp, listening: socket.socket) -> None:
    import uvicorn

    sys.setswitchinterval(SWITCH)
    # The access log would show nothing but the page's own polling, and the link with its token.
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", ws="none", server_header=False)
    uvicorn.Server(config).run(sockets=[listening])
