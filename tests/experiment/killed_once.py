"""A job that kills its worker once; in a module of its own, since worker processes import it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aczerots.simulation.experiment.planned import PlannedRun
from aczerots.simulation.experiment.run import ExperimentJob


@dataclass(frozen=True)
class KilledOnce:
    """An experiment of which the process that first begins one run is killed.

    Attributes:
        job: The experiment.
        victim: Folder of the run.
        note: File that says that it has happened.
    """

    job: ExperimentJob
    victim: Path
    note: Path

    def open(self, device: str) -> Callable[[PlannedRun], None]:
        work = self.job.open(device)

        def run(planned: PlannedRun) -> None:
            if planned.folder == self.victim and not self.note.exists():
                self.note.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            work(planned)

        return run
