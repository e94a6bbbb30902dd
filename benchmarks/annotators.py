"""Many annotators at once over HTTP, and a server that is killed while they work.

    python -m benchmarks.annotators --out annotators.json
    python -m benchmarks.annotators --kills 25 --database postgresql+psycopg://postgres@127.0.0.1/empty
    python -m benchmarks.annotators --think 1

Simulated annotators take a tile, save unfinished work, and hand in a drawing; whoever gets no reply sends the same
answer again. Afterwards every acknowledged answer must be in the database once, and no other. With ``--kills`` the
server process is ended by SIGKILL that many times while they work, and started again. ``--think`` lets everybody look
at a tile for that many seconds on average (exponentially distributed); without it nobody ever pauses, which is the
hardest case: twenty requests are then always under way.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
from PIL import Image

from aczerots.annotation.formats.masks import decode_mask
from aczerots.annotation.store.records import PickRecord, RoundState
from aczerots.annotation.store.store import ProjectStore
from aczerots.project.classes import read_classes
from aczerots.project.folder import init_project, open_project
from aczerots.project.settings import make_settings
from aczerots.taxonomy import IGNORE

TILE = 64
PATIENCE = 1200.0
CONFLICT, SERVER_ERROR = 409, 500


@dataclass
class Log:
    """What the annotators saw.

    Attributes:
        answers: (author, label, version) of every acknowledged answer, by tile.
        seconds: How long every acknowledged answer took to be acknowledged, without retries.
        retries: Requests that got no reply.
        refused: Answers refused as stale.
    """

    answers: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    retries: int = 0
    refused: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Reply:
    """What the server said, and how long it took, from the first byte sent to the last one read."""

    status: int
    body: bytes
    seconds: float

    def content(self) -> Any:
        """The JSON of a good reply.

        Raises:
            AssertionError: The reply is no good one.
        """
        assert self.status in {200, 202}, f"{self.status}: {self.body[:200]!r}"
        return json.loads(self.body)


class Annotator(threading.Thread):
    """Draws whole tiles in one class until none is left.

    Args:
        user: Name.
        token: Of the user.
        address: Of the server, ``http://host:port``.
        log: Where the outcome goes.
        think: Seconds on average before a drawing is handed in.
    """

    def __init__(self, user: str, token: str, address: str, log: Log, think: float = 0.0) -> None:
        super().__init__(name=user)
        self._user, self._log, self._number, self._think = user, log, 0, think
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._server = HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE)
        self._pace = random.Random(user)

    def run(self) -> None:
        """Work until nothing is left."""
        with closing(self._server):
            while (task := self._ask("POST", "/api/tasks/next").content()["task"]) is not None:
                self._draw(task)

    def _draw(self, task: dict[str, Any]) -> None:
        self._number += 1
        if self._think:
            time.sleep(self._pace.expovariate(1 / self._think))
        position, size = task["tile"]["position"], task["tile"]["size"]
        label = (position + self._number) % 2
        work = {"mask": [label, size * size], "version": task["version"], "seconds": 1.0}
        if self._number % 2:
            self._ask("PUT", f"/api/tiles/{position}/work", work)
        answer = {**work, "verdict": "drawn", "key": f"answer-{position}-{self._number}"}
        said = self._ask("POST", f"/api/tiles/{position}/answer", answer)
        with self._log.lock:
            if said.status == CONFLICT:
                self._log.refused += 1
                return
            self._log.seconds.append(said.seconds)
            self._log.answers[position] = (self._user, label, said.content()["version"])

    def _ask(self, method: str, path: str, body: object = None) -> Reply:
        """Ask until there is a reply."""
        sent = None if body is None else json.dumps(body)
        until = time.monotonic() + PATIENCE
        while True:
            try:
                started = time.perf_counter()
                self._server.request(method, path, sent, self._headers)
                answer = self._server.getresponse()
                reply = Reply(answer.status, answer.read(), time.perf_counter() - started)
                if reply.status < SERVER_ERROR:
                    return reply
            except (HTTPException, OSError):
                self._server.close()
            if time.monotonic() > until:
                raise TimeoutError(f"no reply to {method} {path}")
            with self._log.lock:
                self._log.retries += 1
            time.sleep(0.1)


def annotate_all(address: str, tokens: Mapping[str, str], log: Log, think: float = 0.0) -> float:
    """Let all annotators work until nothing is left; gives the seconds it took."""
    started = time.perf_counter()
    crowd = [Annotator(user, token, address, log, think) for user, token in tokens.items()]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    return time.perf_counter() - started


def check(store: ProjectStore, log: Log, tiles: int) -> None:
    """Every acknowledged answer is kept once, as it was given, and there is no other.

    Raises:
        AssertionError: One is lost, doubled or changed.
    """
    assert len(log.answers) == tiles, f"{tiles - len(log.answers)} tiles without an acknowledged answer"
    for position, (user, label, version) in log.answers.items():
        history = store.answers.history(position)
        assert len(history) == 1, f"tile {position} has {len(history)} answers"
        kept = history[0]
        assert (kept.author, kept.version) == (user, version), f"tile {position} is {kept.author}'s"
        assert kept.mask is not None
        mask = decode_mask(kept.mask)
        assert set(np.unique(mask)) - {IGNORE} == {label}, f"tile {position} is drawn otherwise"


def summary(log: Log, seconds: float) -> dict[str, float]:
    """Figures of a run; times in milliseconds."""
    tenths = quantiles(log.seconds, n=20)
    return {
        "answers": len(log.answers),
        "retries": log.retries,
        "refused": log.refused,
        "seconds": round(seconds, 1),
        "median_ms": round(1000 * median(log.seconds), 1),
        "p95_ms": round(1000 * tenths[-1], 1),
        "max_ms": round(1000 * max(log.seconds), 1),
    }


def make_project(folder: Path, tiles: int, database: str | None) -> None:
    """A project of one slide with a round of ``tiles`` tiles that no model has chosen."""
    side = int(np.ceil(np.sqrt(tiles)))
    picture = folder / "grey.png"
    Image.fromarray(np.full((side * TILE, side * TILE, 3), 200, dtype=np.uint8)).save(picture)
    settings = make_settings(
        tissue="everywhere", classes=read_classes("tumor:seen,stroma:seen,necrosis:unseen"), tile_size=TILE
    )
    settings = settings.model_copy(update={"database": database})
    init_project(folder / "project", [str(picture)], settings)
    with open_project(folder / "project") as project:
        rounds = project.store.rounds
        rounds.advance(0, RoundState.FITTED)
        scores = {"uncertainty": 0.5, "diversity": 0.5, "coverage": 0.5}
        rounds.propose(1, "random", [PickRecord(1, i + 1, i, 0.5, scores) for i in range(tiles)])


class Server:
    """The server as a process of its own, started again whenever it was killed.

    Args:
        project: Project folder.
    """

    def __init__(self, project: Path) -> None:
        self._project, self._port = project, 0
        self.address = ""
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = [sys.executable, "-m", "aczerots.cli.app", "annotate", str(self._project), "--port", str(self._port)]
        self._process = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        lines = [""]
        late = threading.Timer(PATIENCE, self._process.kill)  # ends the wait for a line
        late.start()
        try:
            while lines[-1] != "}\n":
                lines.append(self._process.stdout.readline())
                assert lines[-1], "the server did not start"
        finally:
            late.cancel()
        self.address = json.loads("".join(lines))["links"][0]["url"].partition("/?")[0]
        self._port = int(self.address.rpartition(":")[2])

    def kill(self) -> None:
        """End it without a warning."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def run(tiles: int, annotators: int, kills: int, database: str | None, think: float = 0.0) -> dict[str, float]:
    """One run in a temporary folder."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_project(folder, tiles, database)
        with open_project(folder / "project") as project:
            tokens = {f"annotator {i}": project.store.people.add(f"annotator {i}") for i in range(annotators)}
        log, server, over = Log(), Server(folder / "project"), threading.Event()
        killer = threading.Thread(target=_kill_often, args=(server, log, tiles, kills, over))
        killer.start()
        try:
            seconds = annotate_all(server.address, tokens, log, think)
        finally:
            over.set()
            killer.join()
            server.kill()
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open_project(folder / "project") as project:
            check(project.store, log, tiles)
    figures = {**summary(log, seconds), "server_processor_seconds": round(used.ru_utime + used.ru_stime, 1)}
    return {"annotators": annotators, "kills": kills, "think": think, **figures}


def _kill_often(server: Server, log: Log, tiles: int, kills: int, over: threading.Event) -> None:
    for i in range(kills):
        while len(log.answers) < tiles * (i + 1) // (kills + 1) and not over.wait(0.002):
            pass
        if over.is_set():
            return
        server.kill()
        server.start()


def main() -> None:
    """Command line of the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=2000)
    parser.add_argument("--annotators", type=int, default=20)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--think", type=float, default=0.0, help="Seconds on average before a drawing is handed in.")
    parser.add_argument("--database", help="URL of an empty PostgreSQL database; without it SQLite.")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    figures = run(given.tiles, given.annotators, given.kills, given.database, given.think)
    print(json.dumps(figures, indent=1))
    if given.out is not None:
        given.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
