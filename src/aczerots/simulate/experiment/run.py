"""Runs an experiment and writes its table and page. Read :func:`run_experiment` first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aczerots.backbones.options import BackboneOptions
from aczerots.config import cache_folder
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import AczerotsError, SettingsError
from aczerots.simulate.experiment.cells import Cell, expand
from aczerots.simulate.experiment.page import write_pages
from aczerots.simulate.experiment.pool import Job, Message, Place, Workers, run_here
from aczerots.simulate.experiment.protocol import Protocol
from aczerots.simulate.experiment.summary import summarise
from aczerots.simulate.experiment.table import Done, finished, rows_of, write_table
from aczerots.simulate.shared import open_bench
from aczerots.storage.files import alone_in, make_folder

_ROUND_SECONDS = 5.0
"""A guess at one round of one run, until the first cells are finished."""


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    Attributes:
        cells: All cells.
        done: Those that are finished.
        seconds: Estimate of the time the others will take; rough while nothing is finished.
        rough: Whether the estimate is a guess.
    """

    cells: Sequence[Cell]
    done: Sequence[Done]
    seconds: float
    rough: bool


@dataclass(frozen=True)
class Outcome:
    """What came of it: (cell, reason) of the failed ones, and the files written."""

    plan: Plan
    failures: Sequence[tuple[Cell, str]]
    written: Sequence[Path]


def plan_experiment(protocol: Protocol, out: Path, data: Path | None, jobs: int) -> Plan:
    """The cells, which of them are finished, and how long the others will take.

    Raises:
        SettingsError: A setting is out of range, or the folder of the data is needed and not given.
        InputError: A finished run folder is damaged.
    """
    cells = expand(protocol, data)
    done = [d for d in (finished(cell, out) for cell in cells) if d is not None]
    spent = [sum(d.run.record.seconds.values()) / (len(d.run.rounds) + 1) for d in done]
    ready = {d.cell.folder for d in done}
    rounds = sum(c.settings.rounds + 2 for c in cells if c.folder not in ready)
    each = float(np.mean(spent)) if spent else _ROUND_SECONDS
    return Plan(cells, done, rounds * each / max(1, jobs), not spent)


def run_experiment(
    protocol: Protocol,
    out: Path,
    *,
    data: Path | None = None,
    jobs: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Outcome:
    """Run all cells that are not finished, in parallel, then write table and page from all that are.

    Args:
        protocol: What to run.
        out: Folder of the experiment; an interrupted one goes on there.
        data: What ``{data}`` in locators stands for.
        jobs: Processes, each on one thread; 1 works in this one. Numbers do not depend on it.
        device: Where models compute.
        progress: Receives progress.

    Returns:
        What failed and what was written; a failed cell does not stop the others.

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
        ready = {d.cell.folder for d in plan.done}
        todo = [c for c in plan.cells if c.folder not in ready]
        progress.say(describe(plan, jobs))
        failures = _prepare(todo, device, progress)
        failed = {cell.folder for cell, _ in failures}
        failures += _run([c for c in todo if c.folder not in failed], out, jobs, device, progress)
        done = [d for d in (finished(cell, out) for cell in plan.cells) if d is not None]
        written: list[Path] = []
        if done:
            written = write_table([row for d in done for row in rows_of(d)], out)
            written += write_pages(protocol, done, summarise(done, protocol.reference), failures, out)
        return Outcome(plan, failures, written)


def describe(plan: Plan, jobs: int) -> str:
    """One line on what there is to do."""
    left = len(plan.cells) - len(plan.done)
    time = f"about {_duration(plan.seconds)}" + (" by a rough guess" if plan.rough else "")
    rest = f"{left} to do, {time} with {jobs} process{'' if jobs == 1 else 'es'}" if left else "nothing to do"
    return f"{len(plan.cells)} cells, {len(plan.done)} finished, {rest}"


def _duration(seconds: float) -> str:
    """Seconds as a person says them."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(1, minutes)} min"


def _prepare(todo: Sequence[Cell], device: str, progress: Progress) -> list[tuple[Cell, str]]:
    """Check classes and fill the grid cache, once per dataset and backbone; (cell, reason) of those it spoils."""
    failures: list[tuple[Cell, str]] = []
    seen: dict[tuple[object, ...], str | None] = {}
    embedded: set[tuple[object, ...]] = set()
    for cell in todo:
        s = cell.settings
        grids = (s.dataset, s.backbone, s.tile_size)
        key = (*grids, s.unseen)
        if key not in seen:
            seen[key] = _spoilt(cell, grids in embedded, device, progress)
            embedded.add(grids)
        if reason := seen[key]:
            failures.append((cell, reason))
    for cell, reason in {c.settings.dataset + str(c.settings.unseen): (c, r) for c, r in failures}.values():
        progress.say(f"left out: {cell.dataset}, {' + '.join(cell.settings.unseen) or 'no class'} unseen: {reason}")
    return failures


def _spoilt(cell: Cell, embedded: bool, device: str, progress: Progress) -> str | None:
    """Why the runs of this dataset cannot work, or None."""
    from aczerots.datasets.locate import locate_dataset

    try:
        if embedded:
            locate_dataset(cell.settings.dataset).taxonomy.with_unseen(cell.settings.unseen)
        else:
            options = BackboneOptions(cell.settings.refine_with, cell.settings.precision)
            open_bench(cell.settings, options, device, cache_folder(), progress)
    except AczerotsError as error:
        return str(error)
    return None


def _run(todo: Sequence[Cell], out: Path, jobs: int, device: str, progress: Progress) -> list[tuple[Cell, str]]:
    """Run cells; (cell, reason) of those that failed."""
    failures: list[tuple[Cell, str]] = []
    count = 0

    def ended(message: Message) -> None:
        nonlocal count
        count += 1
        if message.failure is not None:
            failures.append((todo[message.number], message.failure))
            progress.say(f"failed: {todo[message.number].text}: {message.failure}")
        progress.step("cells", count, len(todo))

    if not todo:
        return failures
    progress.step("cells", 0, len(todo))
    work = [Job(i, cell.settings, out / cell.folder) for i, cell in enumerate(todo)]
    place = Place(out / "shared", cache_folder(), device)
    if jobs == 1:
        run_here(work, place, ended)
        return failures
    workers = Workers(min(jobs, len(work)), place)
    try:
        workers.run(work, ended)
    finally:
        workers.stop()
    return failures
