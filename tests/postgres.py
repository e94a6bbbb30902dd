"""A private PostgreSQL server for the tests: own folder, own port, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.patience import PATIENCE

PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
USER = "postgres"


def find_binaries() -> Path | None:
    """Folder with initdb and postgres; None if PostgreSQL is not installed."""
    found = shutil.which("initdb")
    places = [*PLACES, *([Path(found).parent] if found else [])]
    return next((p for p in places if (p / "initdb").exists() and (p / "postgres").exists()), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _prefix() -> list[str]:
    """PostgreSQL refuses to run as root; the user that its package makes is there for that."""
    return ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []


@contextmanager
def server(binaries: Path) -> Iterator[str]:
    """A running server; gives the URL of its database ``postgres``."""
    folder = Path(tempfile.mkdtemp(prefix="aczerots-pg-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        data, port = folder / "data", _free_port()

        def call(name: str, *arguments: str) -> None:
            command = [*_prefix(), str(binaries / name), "-D", str(data), *arguments]
            # Output goes to a file: the server would keep a pipe open for ever.
            with (folder / f"{name}.txt").open("w") as log:
                subprocess.run(command, check=True, stdout=log, stderr=log, timeout=PATIENCE, cwd=folder)

        call("initdb", "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c max_connections=150"
        call("pg_ctl", "-w", "-t", f"{PATIENCE:.0f}", "-l", str(folder / "server.txt"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg://{USER}@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_database(url: str) -> str:
    """URL of an empty place on a server: a schema of its own, which costs far less than a database."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{url}?options=-csearch_path%3D{name}"
