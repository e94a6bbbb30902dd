"""Units in this process, or in worker processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, final

from aczerots.engine.base import TRIES, Failure, Job, Result, Unit, attempt
from aczerots.engine.desk import Desk, Ticket
from aczerots.errors import AczerotsError
from aczerots.storage.machine import cores, few_threads

_PATIENCE = 1.0
_FAREWELL = 5.0
_AHEAD = 2
"""Units that a worker has: the one in work and the next, so that it never waits for this process."""


@final
class HereEngine:
    """Units in this process, one after the other; satisfies :class:`~aczerots.engine.base.Engine`.

    Args:
        device: Where to compute.
    """

    workers = 1
    here = True

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    def run(
        self,
        job: Job[Unit, Result],
        units: Sequence[Unit],
        ended: Callable[[Unit, Result | Failure], Sequence[Unit]],
    ) -> None:
        """See :meth:`aczerots.engine.base.Engine.run`."""
        if not units:
            return
        work = job.open(self._device)
        desk = Desk(units, ended)
        while (ticket := desk.take()) is not None:
            desk.end(ticket, attempt(work, ticket.unit))


@dataclass
class _Worker:
    """A process, its pipe and the units it has, in order."""

    process: SpawnProcess
    pipe: Connection[Any, Any]
    device: str
    ready: bool = False
    has: deque[Ticket[Any]] = field(default_factory=deque)


@final
class ProcessEngine:
    """A process per device of this machine; satisfies :class:`~aczerots.engine.base.Engine`.

    Each process has a pipe of its own: one that is killed while it holds the lock of a shared queue would stop all.
    One that dies is replaced.

    Args:
        devices: One per process; a device may be there several times.
        threads: Threads per process; None shares the processor cores among the processes.
    """

    here = False

    def __init__(self, devices: Sequence[str], threads: int | None = None) -> None:
        self._devices = tuple(devices)
        self._threads = threads or max(1, cores() // len(devices))
        self._deaths = 0

    @property
    def workers(self) -> int:
        """Units that may be in work at the same time."""
        return len(self._devices)

    def run(
        self,
        job: Job[Unit, Result],
        units: Sequence[Unit],
        ended: Callable[[Unit, Result | Failure], Sequence[Unit]],
    ) -> None:
        """See :meth:`aczerots.engine.base.Engine.run`."""
        if not units:
            return
        context = multiprocessing.get_context("spawn")
        desk: Desk[Any, Any] = Desk(units, ended)
        self._deaths = 0
        team: list[_Worker] = []
        try:
            team.extend(self._start(context, job, device) for device in self._devices)
            while desk.open:
                for worker in team:
                    _feed(worker, desk, len(team))
                ready = wait([worker.pipe for worker in team], _PATIENCE)
                for i, worker in enumerate(team):
                    if worker.pipe in ready and not _hear(worker, desk):
                        self._bury(worker, desk)
                        team[i] = self._start(context, job, worker.device)
        finally:
            _stop(team)

    def _start(self, context: SpawnContext, job: Job[Any, Any], device: str) -> _Worker:
        """One more worker."""
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, job, device), daemon=True)
        with few_threads(self._threads):
            process.start()
        theirs.close()
        return _Worker(process, ours, device)

    def _bury(self, worker: _Worker, desk: Desk[Any, Any]) -> None:
        """Take back what a dead worker had.

        Raises:
            AczerotsError: Workers die before they do anything.
        """
        worker.process.join()
        worker.pipe.close()
        if not worker.ready:
            self._deaths += 1
            if self._deaths >= TRIES:
                what = f"a worker process ended with code {worker.process.exitcode} before it began"
                raise AczerotsError(what, fix="Free some memory, or use fewer --jobs")
        first, *rest = worker.has or (None,)
        for ticket in reversed(rest):
            desk.give_back(ticket)
        if first is not None and worker.ready:
            desk.lose(first)
        elif first is not None:
            desk.give_back(first)


def _feed(worker: _Worker, desk: Desk[Any, Any], team: int) -> None:
    """Give a worker as much as it may have; when little is left, each gets one."""
    limit = _AHEAD if desk.waiting > team else 1
    while len(worker.has) < limit and (ticket := desk.take()) is not None:
        worker.has.append(ticket)
        # A worker that is dead already is found so when its pipe is read.
        with suppress(OSError):
            worker.pipe.send(ticket.unit)


def _hear(worker: _Worker, desk: Desk[Any, Any]) -> bool:
    """Take a message of a worker; False if it has died.

    Raises:
        AczerotsError: It could not open the job.
    """
    try:
        message = worker.pipe.recv()
    except (EOFError, OSError):
        # Perhaps in the middle of a message.
        return False
    if worker.ready:
        desk.end(worker.has.popleft(), message)
    elif message is None:
        worker.ready = True
    else:
        raise AczerotsError(message.reason)
    return True


def _stop(team: Sequence[_Worker]) -> None:
    """End all workers: those without work go by themselves and tidy up, the others are stopped."""
    for worker in team:
        worker.pipe.close()
        if worker.has or not worker.ready:
            worker.process.terminate()
    for worker in team:
        worker.process.join(_FAREWELL)
        worker.process.kill()
        worker.process.join()


def _serve(pipe: Connection[Any, Any], job: Job[Any, Any], device: str) -> None:
    """Open the job and do units until the other end of the pipe is closed; the entry point of a worker process."""
    # Ctrl-C reaches the whole process group; the parent ends the workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        work = job.open(device)
    except AczerotsError as error:
        pipe.send(Failure(type(error).__name__, str(error)))
        return
    pipe.send(None)
    while True:
        try:
            unit = pipe.recv()
        except EOFError:
            return
        pipe.send(attempt(work, unit))
