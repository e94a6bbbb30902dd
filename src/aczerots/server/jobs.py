"""Long work in the background: one job at a time, with progress that anybody may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock, Thread
from typing import Literal

from aczerots.engine.progress import Progress
from aczerots.errors import AczerotsError
from aczerots.server.ports import ConflictError


class StoppedError(AczerotsError):
    """Somebody has stopped the job."""


JobState = Literal["idle", "running", "done", "failed"]


@dataclass(frozen=True)
class Job:
    """Where the job stands.

    Attributes:
        state: ``idle`` before the first.
        user: Who started it.
        stage: What is being done.
        done: Finished units of the stage.
        total: All units of the stage.
        message: Newest line, or why it failed.
    """

    state: JobState = "idle"
    user: str = ""
    stage: str = ""
    done: int = 0
    total: int = 0
    message: str = ""


class Jobs:
    """Runs a piece of work in a thread and remembers where it stands; satisfies Progress."""

    def __init__(self) -> None:
        self._job = Job()
        self._lock = Lock()
        self._thread: Thread | None = None
        self._stopper = ""

    @property
    def job(self) -> Job:
        """Where it stands now."""
        return self._job

    def start(self, user: str, work: Callable[[Progress], None]) -> Job:
        """Begin ``work``.

        Raises:
            ConflictError: One is running.
        """
        with self._lock:
            if self._job.state == "running":
                raise ConflictError(f"{self._job.user} has already started this", fix="Wait until it is done")
            self._job, self._stopper = Job("running", user, "starting"), ""
        self._thread = Thread(target=self._run, args=(work,), name="fit", daemon=True)
        self._thread.start()
        return self._job

    def stop(self, user: str) -> Job:
        """Let the running job end at its next step; what it had not finished is not kept.

        Raises:
            ConflictError: None is running.
        """
        with self._lock:
            if self._job.state != "running":
                raise ConflictError("nothing is running")
            self._stopper = user
        return self._job

    def wait(self, seconds: float) -> None:
        """Wait for the running job, at most ``seconds``."""
        if self._thread is not None:
            self._thread.join(seconds)

    def say(self, text: str) -> None:
        """See :class:`~aczerots.engine.progress.Progress`."""
        self._check()
        self._job = replace(self._job, message=text)

    def step(self, stage: str, done: int, total: int) -> None:
        """See :class:`~aczerots.engine.progress.Progress`."""
        self._check()
        self._job = replace(self._job, stage=stage, done=done, total=total)

    def _check(self) -> None:
        if self._stopper:
            raise StoppedError(f"{self._stopper} has stopped this")

    def _run(self, work: Callable[[Progress], None]) -> None:
        # A defect must not look like a job that runs for ever: the state falls back to failed in any case.
        outcome, reason = "failed", "it stopped unexpectedly; the terminal of the server says why"
        try:
            work(self)
            outcome, reason = "done", ""
        except AczerotsError as error:
            reason = str(error)
        finally:
            self._job = replace(self._job, state="done" if outcome == "done" else "failed", message=reason)
