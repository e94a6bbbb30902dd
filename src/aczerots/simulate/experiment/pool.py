"""Runs cells in this process or in workers; a worker that dies costs its cell and is replaced.

Each cell computes on one thread. How many threads share a sum shows in its last bits, these in a fit, and a fit in the
tiles that a strategy asks for, so a table would change with the number of processes or of cores.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from aczerots.config import SimulateSettings
from aczerots.errors import AczerotsError
from aczerots.simulate.shared import Sharing
from aczerots.simulate.simulate import simulate
from aczerots.storage.machine import few_threads

_PATIENCE = 0.5


@dataclass(frozen=True)
class Job:
    """One cell for a worker: what to run, where the run folder is."""

    number: int
    settings: SimulateSettings
    folder: Path


@dataclass(frozen=True)
class Message:
    """A worker began a job (``seconds`` None) or ended it, with the reason if it failed."""

    worker: int
    number: int
    seconds: float | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Place:
    """What all workers share.

    Attributes:
        shared: Folder of results that runs have in common.
        cache: Folder of cached grids.
        device: Where models compute.
    """

    shared: Path
    cache: Path
    device: str


def work(worker: int, pipe: Connection[Message, Job], place: Place) -> None:
    """Run jobs until the other end of the pipe is closed; the entry point of a worker process."""
    # Ctrl-C reaches the whole process group; the parent ends the workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    sharing = Sharing(place.shared)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(Message(worker, job.number))
        pipe.send(run_job(worker, job, place, sharing))


def run_here(jobs: Sequence[Job], place: Place, ended: Callable[[Message], None]) -> None:
    """Run all jobs in this process; ``ended`` is told of each as it ends."""
    sharing = Sharing(place.shared)
    with one_thread():
        for job in jobs:
            ended(run_job(0, job, place, sharing))


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch, NumPy and what is imported meanwhile compute on one thread here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with few_threads(1), threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def run_job(worker: int, job: Job, place: Place, sharing: Sharing) -> Message:
    """Run one cell; any failure becomes a message, so that the other cells go on."""
    started = time.perf_counter()
    failure = None
    try:
        simulate(job.settings, job.folder, device=place.device, cache=place.cache, sharing=sharing, pictures=False)
    except AczerotsError as error:
        failure = str(error)
    except (
        OSError,
        MemoryError,
        RuntimeError,
        ValueError,
        ArithmeticError,
        LookupError,
        TypeError,
        AssertionError,
    ) as error:
        # A defect in one strategy must not cost the others their night; its kind helps to report it.
        failure = f"{type(error).__name__}: {error}"
    return Message(worker, job.number, time.perf_counter() - started, failure)


class Workers:
    """A few worker processes and what each is at.

    Each has a pipe of its own: a process that is killed while it holds the lock of a shared queue would stop all.

    Args:
        count: How many.
        place: What they share.

    Attributes:
        processes: The living ones by number.
    """

    def __init__(self, count: int, place: Place) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._place = place
        self._pipes: dict[int, Connection[Job, Message]] = {}
        self.processes: dict[int, SpawnProcess] = {}
        self._busy: dict[int, int] = {}
        self._begun: set[int] = set()
        self._born = 0
        for _ in range(count):
            self._start()

    def _start(self) -> None:
        """One more worker."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(self._born, theirs, self._place), daemon=True)
        with few_threads(1):
            process.start()
        theirs.close()
        self.processes[self._born], self._pipes[self._born] = process, ours
        self._born += 1

    def run(self, jobs: Sequence[Job], ended: Callable[[Message], None]) -> None:
        """Run all jobs; ``ended`` is told of each as it ends."""
        waiting = deque(jobs)
        open_jobs = {job.number for job in jobs}
        while open_jobs:
            self._hand_out(waiting)
            for message in self.receive() or self._replace_dead():
                if message.seconds is None:
                    self._begun.add(message.worker)
                elif message.number in open_jobs:
                    self._busy.pop(message.worker, None)
                    open_jobs.remove(message.number)
                    ended(message)

    def _hand_out(self, waiting: deque[Job]) -> None:
        """Give a job to each worker that has none."""
        for worker, pipe in self._pipes.items():
            if waiting and worker not in self._busy:
                job = waiting.popleft()
                self._busy[worker] = job.number
                # Of a worker that is dead already, the job ends as one that died with it.
                with suppress(OSError):
                    pipe.send(job)

    def receive(self) -> Sequence[Message]:
        """The messages that have come, or none if none comes for a while."""
        messages = []
        ready = wait(list(self._pipes.values()), _PATIENCE)
        for worker, pipe in self._pipes.items():
            if pipe in ready:
                try:
                    messages.append(pipe.recv())
                except (EOFError, OSError):
                    # It died, perhaps in the middle of a message.
                    self.processes[worker].join()
        return messages

    def _replace_dead(self) -> list[Message]:
        """Start a worker for each one that died; messages of the jobs that died with them."""
        lost = []
        for worker, process in list(self.processes.items()):
            if process.is_alive():
                continue
            del self.processes[worker]
            self._pipes.pop(worker).close()
            number = self._busy.pop(worker, None)
            if number is None or worker not in self._begun:
                what = f"a worker process ended with code {process.exitcode} before it began a cell"
                raise AczerotsError(what, fix="Free some memory, or use --jobs 1")
            reason = f"its process ended with code {process.exitcode}; memory may have run out"
            lost.append(Message(worker, number, 0.0, reason))
            self._start()
        return lost

    def stop(self) -> None:
        """End all workers at once; what their runs saved stays."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.join()
        for pipe in self._pipes.values():
            pipe.close()
