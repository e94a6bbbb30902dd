"""Units on a Ray cluster: an actor per worker, on nodes that may join, leave or die."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final

from aczerots.engine.base import TRIES, Ended, Failure, Job, Result, Unit, attempt
from aczerots.engine.queue import QueuedUnit, UnitQueue
from aczerots.errors import AczerotsError, SettingsError, extra_needed

_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 600.0
"""Time without any worker after which to give up; an autoscaler takes minutes to start a node."""


class _Worker:
    """What runs in an actor."""

    def __init__(self, job: Any, device: str) -> None:
        self._job, self._device = job, device
        self._work: Any = None

    def open(self) -> Failure | None:
        """Open the job; here, not when the actor is made, so that the reason of a failure comes back."""
        try:
            self._work = self._job.open(self._device)
        except AczerotsError as error:
            return Failure(type(error).__name__, str(error))
        return None

    def do(self, unit: Any) -> Any:
        """Do a unit."""
        return attempt(self._work, unit)


@dataclass
class _Actor:
    """An actor, the calls that it has not answered, and the units it holds; ``ready`` once it has opened the job."""

    handle: Any
    ready: bool = False
    calls: deque[Any] = field(default_factory=deque)
    held: deque[QueuedUnit[Any]] = field(default_factory=deque)

    def send(self, unit: Any) -> None:
        """Ask for a unit."""
        self.calls.append(self.handle.do.remote(unit))


@final
class RayEngine:
    """Actors of a Ray cluster; satisfies :class:`~aczerots.engine.base.Engine`.

    Workers get paths, URLs and settings, and answer with a few numbers; pixels never pass through Ray's object store.
    An actor that dies, or whose node does, is replaced, and what it held goes to the others. Actors that have no place
    yet are what an autoscaler counts as demand.

    Args:
        address: Of the cluster (``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``); None starts one on this machine.
        workers: Number of actors; None takes what the cluster has room for when the work begins.
        device: ``cpu``, or ``cuda`` for one accelerator per actor.
        threads: Processor cores and threads per actor.

    Raises:
        SettingsError: A device that makes no sense on a cluster.
    """

    here = False

    def __init__(
        self, address: str | None = None, workers: int | None = None, device: str = "cpu", threads: int = 1
    ) -> None:
        if device not in {"cpu", "cuda"}:
            fix = "Use --device cpu or cuda; Ray gives each worker a GPU of its own"
            raise SettingsError(f"Ray places the work, '{device}' names one machine's", where="--device", fix=fix)
        self._address, self._workers, self._device, self._threads = address, workers, device, threads

    @property
    def workers(self) -> int:
        """Units that may run at the same time; at least 2 where the cluster decides."""
        return self._workers or 2

    def run(self, job: Job[Unit, Result], units: Sequence[Unit], ended: Ended[Unit, Result]) -> None:
        """Run all units; the arguments are those of :meth:`aczerots.engine.base.Engine.run`."""
        if not units:
            return
        with _connected(self._address) as ray:
            limit = self._workers or _places(ray, self._device, self._threads)
            actors = _Actors(ray, job, self._device, self._threads, limit)
            try:
                actors.run(UnitQueue(units, ended))
            finally:
                actors.stop()


class _Actors:
    """The actors of one run, as many as there are units for, up to ``limit``."""

    def __init__(self, ray: Any, job: Any, device: str, threads: int, limit: int) -> None:
        gpus = 1 if device == "cuda" else 0
        environment = {"env_vars": {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}}
        options = {"num_cpus": threads, "num_gpus": gpus, "max_restarts": 0, "runtime_env": environment}
        self._ray, self._device, self._early_deaths = ray, device, 0
        self._class = ray.remote(_Worker).options(**options)
        # Once into the object store, not once per actor.
        self._job = ray.put(job)
        self._limit = limit
        self._actors: list[_Actor] = []

    def _start(self) -> _Actor:
        """One more actor; it waits until the cluster has a place for it."""
        handle = self._class.remote(self._job, self._device)
        return _Actor(handle, calls=deque([handle.open.remote()]))

    def run(self, queue: UnitQueue[Any, Any]) -> None:
        """Run until all units have ended."""
        alive = time.monotonic()
        while queue.unfinished:
            starting = sum(not actor.ready for actor in self._actors)
            for _ in range(min(self._limit - len(self._actors), queue.waiting - starting)):
                self._actors.append(self._start())
            for actor in self._actors:
                if actor.ready:
                    queue.supply(actor.held, len(self._actors), actor.send)
            first = {actor.calls[0]: i for i, actor in enumerate(self._actors) if actor.calls}
            answered, _ = self._ray.wait(list(first), timeout=_POLL_SECONDS)
            for call in answered:
                self._receive(first[call], call, queue)
            if answered or any(actor.ready for actor in self._actors):
                alive = time.monotonic()
            elif time.monotonic() - alive > _PATIENCE_SECONDS:
                fix = "Add nodes, or ask for less with --device or --jobs"
                raise AczerotsError("the cluster has had no place for a worker for 10 minutes", fix=fix)

    def _receive(self, index: int, call: Any, queue: UnitQueue[Any, Any]) -> None:
        """Take the answer to a call, or replace the actor that will give none.

        Raises:
            AczerotsError: The job cannot be opened, or actors die before they do anything.
        """
        actor = self._actors[index]
        try:
            answer = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            self._remove(actor, queue, error)
            self._actors[index] = self._start()
            return
        actor.calls.popleft()
        if actor.ready:
            queue.finish(actor.held.popleft(), answer)
        elif answer is None:
            actor.ready = True
        else:
            raise AczerotsError(answer.reason)

    def _remove(self, actor: _Actor, queue: UnitQueue[Any, Any], error: Exception) -> None:
        """Take back what a lost actor held."""
        # It may only be out of reach; whatever it still writes is what the next one writes.
        self._ray.kill(actor.handle)
        if not actor.ready:
            self._early_deaths += 1
            if self._early_deaths >= TRIES * len(self._actors):
                reason = str(error).strip().splitlines()[-1].strip()
                fix = "Is aczerots installed on all nodes?"
                raise AczerotsError(f"workers die before they begin ({reason})", fix=fix)
        queue.recover(actor.held, begun=actor.ready)

    def stop(self) -> None:
        """End all actors."""
        for actor in self._actors:
            self._ray.kill(actor.handle)


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """The library ``ray``, connected; a connection that was there before stays open.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingsError: No cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with extra_needed("ray", "--engine ray"):
        import ray
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        what = f"no Ray cluster answers ({str(error).strip().splitlines()[0]})"
        raise SettingsError(what, where="--address", fix="Start one with 'ray start --head'") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _places(ray: Any, device: str, threads: int) -> int:
    """Actors that the cluster has room for now; at least one, for which an autoscaler will find room."""
    resources = ray.cluster_resources()
    return max(1, int(resources.get("GPU", 0) if device == "cuda" else resources.get("CPU", 0) // threads))
