"""Runs an experiment and writes its table and page. Read :func:`run_experiment` first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aczerots.backbones.options import BackboneOptions
from aczerots.config import cache_folder
from aczerots.datasets.locate import locate_dataset
from aczerots.engine.base import Engine, Failure, Job
from aczerots.engine.local import HereEngine, ProcessEngine
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import AczerotsError, SettingsError
from aczerots.simulation.experiment.page import write_pages
from aczerots.simulation.experiment.planned import PlannedRun, plan_runs
from aczerots.simulation.experiment.protocol import Protocol
from aczerots.simulation.experiment.summary import summarise
from aczerots.simulation.experiment.table import FinishedRun, finished, rows_of, write_table
from aczerots.simulation.shared import Sharing, open_dataset
from aczerots.simulation.simulate import simulate
from aczerots.storage.files import alone_in, make_folder

_ROUND_SECONDS = 5.0
"""A guess at one round of one run, until the first runs are finished."""

Failures = list[tuple[PlannedRun, str]]


@dataclass(frozen=True)
class ExperimentPlan:
    """All runs, those that are finished, and the number of worker processes for the others."""

    runs: Sequence[PlannedRun]
    done: Sequence[FinishedRun]
    jobs: int

    @property
    def todo(self) -> list[PlannedRun]:
        """Runs that are not finished."""
        ready = {d.planned.folder for d in self.done}
        return [run for run in self.runs if run.folder not in ready]

    @property
    def seconds(self) -> float:
        """Estimate of the time that the runs to do will take; a guess while none is finished."""
        spent = [sum(d.run.record.seconds.values()) / (len(d.run.rounds) + 1) for d in self.done]
        each = float(np.mean(spent)) if spent else _ROUND_SECONDS
        return sum(run.settings.rounds + 2 for run in self.todo) * each / max(1, self.jobs)

    @property
    def text(self) -> str:
        """One line for a person."""
        time = f"about {_duration(self.seconds)}" + ("" if self.done else " by a rough guess")
        processes = f"{self.jobs} process{'' if self.jobs == 1 else 'es'}"
        rest = f"{len(self.todo)} to do, {time} with {processes}" if self.todo else "nothing to do"
        return f"{len(self.runs)} runs, {len(self.done)} finished, {rest}"


def _duration(seconds: float) -> str:
    """Seconds as a person says them."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(1, minutes)} min"


@dataclass(frozen=True)
class ExperimentResult:
    """What came of it: (run, reason) of the failed ones, and the files written."""

    plan: ExperimentPlan
    failures: Sequence[tuple[PlannedRun, str]]
    written: Sequence[Path]


@dataclass(frozen=True)
class ExperimentJob:
    """Simulated runs as units of work; satisfies :class:`~aczerots.engine.base.Job`.

    ``out`` is the folder of the experiment, ``cache`` that of cached features.
    """

    out: Path
    cache: Path

    def open(self, device: str) -> Callable[[PlannedRun], None]:
        """A function that does a run, or finishes one that was begun."""
        sharing = Sharing(self.out / "shared")

        def run(planned: PlannedRun) -> None:
            folder = self.out / planned.folder
            simulate(planned.settings, folder, device=device, cache=self.cache, sharing=sharing, pictures=False)

        return run


def plan_experiment(protocol: Protocol, out: Path, data: Path | None, jobs: int) -> ExperimentPlan:
    """The runs, and which of them are finished.

    Raises:
        SettingsError: A setting is out of range, or the folder of the data is needed and not given.
        InputError: A finished run folder is damaged.
    """
    runs = plan_runs(protocol, data)
    return ExperimentPlan(runs, _finished(runs, out), jobs)


def _finished(runs: Sequence[PlannedRun], out: Path) -> list[FinishedRun]:
    """Those of the runs that have all their rounds."""
    return [done for done in (finished(run, out) for run in runs) if done is not None]


def run_experiment(
    protocol: Protocol,
    out: Path,
    *,
    data: Path | None = None,
    jobs: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
) -> ExperimentResult:
    """Do all runs that are not finished, in parallel, then write table and page from all that are.

    Each run computes on one thread, so that the table does not change with the number of processes or of cores.

    Args:
        protocol: What to run.
        out: Folder of the experiment; an interrupted one goes on there.
        data: What ``{data}`` in locators stands for.
        jobs: Worker processes; 1 works in this process.
        device: Where models compute.
        progress: Receives progress.

    Returns:
        What failed and what was written; a failed run does not stop the others.

    Raises:
        SettingsError: A setting makes no sense.
        StorageError: A file cannot be written, or another process is at work in the folder.
    """
    if jobs < 1:
        raise SettingsError(f"{jobs} processes", where="--jobs", fix="Ask for at least one")
    progress = progress or Silent()
    make_folder(out)
    with alone_in(out):
        plan = plan_experiment(protocol, out, data, jobs)
        progress.say(plan.text)
        failures = _prepare(plan.todo, device, progress)
        spoilt = {run.folder for run, _ in failures}
        todo = [run for run in plan.todo if run.folder not in spoilt]
        workers = min(jobs, len(todo))
        engine = ProcessEngine([device] * workers, threads=1) if workers > 1 else HereEngine(device, threads=1)
        failures += run_on(engine, todo, ExperimentJob(out, cache_folder()), progress)
        done = _finished(plan.runs, out)
        written: list[Path] = []
        if done:
            written = write_table([row for d in done for row in rows_of(d)], out)
            written += write_pages(protocol, done, summarise(done, protocol.reference), failures, out)
        return ExperimentResult(plan, failures, written)


def _prepare(todo: Sequence[PlannedRun], device: str, progress: Progress) -> Failures:
    """Check classes and fill the cache, once per dataset and backbone; (run, reason) of those that cannot work."""
    failures: Failures = []
    checked: dict[tuple[object, ...], str | None] = {}
    embedded: set[tuple[object, ...]] = set()
    for run in todo:
        s = run.settings
        features = (s.dataset, s.backbone, s.tile_size)
        key = (*features, s.unseen)
        if key not in checked:
            checked[key] = reason = _why_not(run, features in embedded, device, progress)
            embedded.add(features)
            if reason:
                progress.say(f"left out: {run.dataset}, {run.unseen}: {reason}")
        if reason := checked[key]:
            failures.append((run, reason))
    return failures


def _why_not(run: PlannedRun, embedded: bool, device: str, progress: Progress) -> str | None:
    """Why runs of this dataset, backbone and unseen classes cannot work, or None."""
    settings = run.settings
    try:
        if embedded:
            locate_dataset(settings.dataset).taxonomy.with_unseen(settings.unseen)
        else:
            options = BackboneOptions(settings.refine_with, settings.precision)
            open_dataset(settings, options, device, cache_folder(), progress)
    except AczerotsError as error:
        return str(error)
    return None


def run_on(engine: Engine, todo: Sequence[PlannedRun], job: Job[PlannedRun, None], progress: Progress) -> Failures:
    """Do runs on an engine; (run, reason) of those that failed."""
    failures: Failures = []
    count = 0

    def ended(run: PlannedRun, outcome: Failure | None) -> list[PlannedRun]:
        nonlocal count
        count += 1
        if outcome is not None:
            failures.append((run, outcome.reason))
            progress.say(f"failed: {run.text}: {outcome.reason}")
        progress.step("runs", count, len(todo))
        return []

    if todo:
        progress.step("runs", 0, len(todo))
    engine.run(job, todo, ended)
    return failures
