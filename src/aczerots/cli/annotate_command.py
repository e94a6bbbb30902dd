"""The command that serves the annotation page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option, echo

import aczerots as az
from aczerots.cli.console import show_json
from aczerots.cli.options import Computing, Json, ProjectFolder
from aczerots.errors import SettingsError

if TYPE_CHECKING:
    from aczerots.server.serve import Link


def annotate(
    project: ProjectFolder,
    computing: Computing,
    host: Annotated[str, Option(help="Address to listen on; for a group see docs/annotate.md.")] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8750,
    user: Annotated[
        list[str] | None, Option(help="Give NAME a new link (the old one stops working); several times.")
    ] = None,
    revoke: Annotated[
        list[str] | None, Option(help="Make NAME's link stop working instead of serving; several times.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve the annotation page of a project until Ctrl-C."""
    if revoke:
        if user:
            raise SettingsError("--revoke serves nothing", where="--user", fix="Give new links in a second command")
        _revoke(project, revoke, as_json)
        return
    from aczerots.server.serve import LOOPBACK, annotate_project

    def ready(links: Sequence[Link]) -> None:
        if as_json:
            show_json({"links": [{"user": link.user, "url": link.url, "monai": link.clients} for link in links]})
            sys.stdout.flush()  # a program that started the server waits for this
            return
        for link in links:
            echo(f"{link.user}: {link.url}")
            echo(f"  for QuPath and other clients of MONAI Label: {link.clients}")
        if host not in LOOPBACK:
            echo("Others can reach this page unencrypted: put TLS in front of it (docs/annotate.md)", err=True)
        echo("Ctrl-C stops the server; nothing that was saved is lost.", err=True)

    annotate_project(project, computing.running(), host=host, port=port, users=user or (), ready=ready)


def _revoke(folder: Path, names: Sequence[str], as_json: bool) -> None:
    with az.open_project(folder) as project:
        project.store.people.revoke(names)
    if as_json:
        show_json({"revoked": list(names)})
    else:
        echo(f"Revoked: {', '.join(names)}. Their links no longer work; their answers are kept.")
