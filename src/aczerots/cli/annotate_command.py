"""The command that serves the annotation page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aczerots.cli.console import ConsoleProgress, show_json
from aczerots.cli.options import Compile, Device, Json, RemoteCode
from aczerots.errors import SettingsError

if TYPE_CHECKING:
    from aczerots.server.serve import Link


def annotate(  # noqa: PLR0913, PLR0917  # one parameter per option: typer reads them off the signature
    project: Annotated[Path, typer.Argument(help="Project folder.")],
    host: Annotated[str, typer.Option(help="Address to listen on; for a group see docs/annotate.md.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8750,
    user: Annotated[
        list[str] | None, typer.Option(help="Give NAME a new link (the old one stops working); several times.")
    ] = None,
    revoke: Annotated[
        list[str] | None, typer.Option(help="Make NAME's link stop working instead of serving; several times.")
    ] = None,
    device: Device = "cpu",
    compiled: Compile = False,
    trust_remote_code: RemoteCode = False,
    as_json: Json = False,
) -> None:
    """Serve the annotation page of a project until Ctrl-C."""
    if revoke:
        if user:
            raise SettingsError("--revoke serves nothing", where="--user", fix="Give new links in a second command")
        _revoke(project, revoke, as_json)
        return
    from aczerots.project.bench import Running
    from aczerots.server.serve import LOOPBACK, annotate_project

    def ready(links: Sequence[Link]) -> None:
        if as_json:
            show_json({"links": [{"user": link.user, "url": link.url, "monai": link.clients} for link in links]})
            sys.stdout.flush()  # a program that started the server waits for this
            return
        for link in links:
            typer.echo(f"{link.user}: {link.url}")
            typer.echo(f"  for QuPath and other clients of MONAI Label: {link.clients}")
        if host not in LOOPBACK:
            typer.echo("Others can reach this page unencrypted: put TLS in front of it (docs/annotate.md)", err=True)
        typer.echo("Ctrl-C stops the server; nothing that was saved is lost.", err=True)

    running = Running(device, compiled, trust_remote_code, ConsoleProgress())
    annotate_project(project, running, host=host, port=port, users=user or (), ready=ready)


def _revoke(folder: Path, names: Sequence[str], as_json: bool) -> None:
    from aczerots.project.folder import open_project

    with open_project(folder) as project:
        project.store.people.revoke(names)
    if as_json:
        show_json({"revoked": list(names)})
    else:
        typer.echo(f"Revoked: {', '.join(names)}. Their links no longer work; their answers are kept.")
