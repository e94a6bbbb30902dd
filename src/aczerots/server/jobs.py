"""Long work in the background: one job at a time, with progress that anybody may look at."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, Thread

from aczerots.engine.progress import Progress
from aczerots.errors import AczerotsError, ConflictError
from aczerots.server.models import JobInfo

_IDLE = JobInfo(state="idle", user="", stage="", done=0, total=0, message="")


class StoppedError(AczerotsError):
    """Somebody has stopped the job."""


class JobRunner:
    """Runs a piece of work in a thread and remembers where it stands; satisfies Progress."""

    def __init__(self) -> None:
        self._job = _IDLE
        self._lock = Lock()
        self._thread: Thread | None = None
        self._stopper = ""

    @property
    def job(self) -> JobInfo:
        """Where it stands now."""
        return self._job

    def start(self, user: str, work: Callable[[Progress], None]) -> JobInfo:
        """Begin ``work``.

        Raises:
            ConflictError: One is running.
        """
        with self._lock:
            if self._job.state == "running":
                raise ConflictError(f"{self._job.user} has already started this", fix="Wait until it is done")
            begun = {"state": "running", "user": user, "stage": "starting"}
            self._job, self._stopper = _IDLE.model_copy(update=begun), ""
        self._thread = Thread(target=self._run, args=(work,), name="fit", daemon=True)
        self._thread.start()
        return self._job

    def stop(self, user: str) -> JobInfo:
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
        """Keep the newest line."""
        self._update(message=text)

    def step(self, stage: str, done: int, total: int) -> None:
        """Keep how far a stage is."""
        self._update(stage=stage, done=done, total=total)

    def _update(self, **changes: str | int) -> None:
        if self._stopper:
            raise StoppedError(f"{self._stopper} has stopped this")
        self._job = self._job.model_copy(update=changes)

    def _run(self, work: Callable[[Progress], None]) -> None:
        # A defect must not look like a job that runs for ever: the state falls back to failed in any case.
        end = {"state": "failed", "message": "it stopped unexpectedly; the terminal of the server says why"}
        try:
            work(self)
            end = {"state": "done", "message": ""}
        except AczerotsError as error:
            end["message"] = str(error)
        finally:
            self._job = self._job.model_copy(update=end)
