"""Units in this process, or in worker processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, final

from aczerots.engine.base import TRIES, Ended, Failure, Job, Result, Unit, attempt
from aczerots.engine.queue import QueuedUnit, UnitQueue
from aczerots.engine.threads import use_threads
from aczerots.errors import AczerotsError
from aczerots.storage.machine import cores, few_threads

_POLL_SECONDS = 1.0
_STOP_SECONDS = 5.0


@final
class HereEngine:
    """Units in this process, one after the other; satisfies :class:`~aczerots.engine.base.Engine`.

    Args:
        device: Where to compute.
        threads: Threads to compute on; None leaves that as it is.
    """

    workers = 1
    here = True

    def __init__(self, device: str = "cpu", threads: int | None = None) -> None:
        self._device, self._threads = device, threads

    def run(self, job: Job[Unit, Result], units: Sequence[Unit], ended: Ended[Unit, Result]) -> None:
        """Run all units; the arguments are those of :meth:`aczerots.engine.base.Engine.run`."""
        if not units:
            return
        with nullcontext() if self._threads is None else use_threads(self._threads):
            work = job.open(self._device)
            queue = UnitQueue(units, ended)
            while (queued := queue.take()) is not None:
                queue.finish(queued, attempt(work, queued.unit))


@dataclass
class _Worker:
    """A process, its pipe and the units it holds, in order; ``ready`` once it has opened the job."""

    process: SpawnProcess
    pipe: Connection[Any, Any]
    device: str
    ready: bool = False
    held: deque[QueuedUnit[Any]] = field(default_factory=deque)

    def send(self, unit: Any) -> None:
        """Send a unit; a worker that is dead already is noticed when its pipe is read."""
        with suppress(OSError):
            self.pipe.send(unit)


@final
class ProcessEngine:
    """A process per device of this machine; satisfies :class:`~aczerots.engine.base.Engine`.

    Each process has a pipe of its own: one that is killed while it holds the lock of a shared queue would stop all.
    One that dies is replaced.

    Args:
        devices: One per process; a device may be there several times.
        threads: Threads per process; None divides the processor cores among the processes.
    """

    here = False

    def __init__(self, devices: Sequence[str], threads: int | None = None) -> None:
        self._devices = tuple(devices)
        self._threads = threads or max(1, cores() // len(devices))
        self._early_deaths = 0

    @property
    def workers(self) -> int:
        """Units that may run at the same time."""
        return len(self._devices)

    def run(self, job: Job[Unit, Result], units: Sequence[Unit], ended: Ended[Unit, Result]) -> None:
        """Run all units; the arguments are those of :meth:`aczerots.engine.base.Engine.run`."""
        if not units:
            return
        context = multiprocessing.get_context("spawn")
        queue: UnitQueue[Any, Any] = UnitQueue(units, ended)
        self._early_deaths = 0
        workers: list[_Worker] = []
        try:
            workers.extend(self._start(context, job, device) for device in self._devices)
            while queue.unfinished:
                for worker in workers:
                    queue.supply(worker.held, len(workers), worker.send)
                ready = wait([worker.pipe for worker in workers], _POLL_SECONDS)
                for i, worker in enumerate(workers):
                    if worker.pipe in ready and not _receive(worker, queue):
                        self._remove(worker, queue)
                        workers[i] = self._start(context, job, worker.device)
        finally:
            _stop(workers)

    def _start(self, context: SpawnContext, job: Job[Any, Any], device: str) -> _Worker:
        """One more worker."""
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, job, device), daemon=True)
        with few_threads(self._threads):
            process.start()
        theirs.close()
        return _Worker(process, ours, device)

    def _remove(self, worker: _Worker, queue: UnitQueue[Any, Any]) -> None:
        """Take back what a dead worker held.

        Raises:
            AczerotsError: Workers die before they do anything.
        """
        worker.process.join()
        worker.pipe.close()
        if not worker.ready:
            self._early_deaths += 1
            if self._early_deaths >= TRIES:
                what = f"a worker process ended with code {worker.process.exitcode} before it began"
                raise AczerotsError(what, fix="Free some memory, or use fewer --jobs")
        queue.recover(worker.held, begun=worker.ready)


def _receive(worker: _Worker, queue: UnitQueue[Any, Any]) -> bool:
    """Take a message of a worker; False if it has died, perhaps in the middle of a message.

    Raises:
        AczerotsError: It could not open the job.
    """
    try:
        message = worker.pipe.recv()
    except (EOFError, OSError):
        return False
    if worker.ready:
        queue.finish(worker.held.popleft(), message)
    elif message is None:
        worker.ready = True
    else:
        raise AczerotsError(message.reason)
    return True


def _stop(workers: Sequence[_Worker]) -> None:
    """End all workers: those without work end by themselves and tidy up, the others are stopped."""
    for worker in workers:
        worker.pipe.close()
        if worker.held or not worker.ready:
            worker.process.terminate()
    for worker in workers:
        worker.process.join(_STOP_SECONDS)
        worker.process.kill()
        worker.process.join()


def _work(pipe: Connection[Any, Any], job: Job[Any, Any], device: str) -> None:
    """Open the job and do units until the other end of the pipe is closed; what a worker process runs."""
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
