"""Figures, HTML page and Markdown tables of an experiment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aczerots.report.compare import mean_defined
from aczerots.report.figures import budget_figure, difference_figure
from aczerots.report.page import render
from aczerots.simulation.experiment.planned import PlannedRun
from aczerots.simulation.experiment.protocol import Protocol
from aczerots.simulation.experiment.summary import GOAL, Scenario, overall
from aczerots.simulation.experiment.table import FinishedRun
from aczerots.storage.files import make_folder, write_text_atomic

_SHOWN = 6
"""Curves in one figure; more cannot be told apart."""


def curves_figure(scenario: Scenario) -> str:
    """Curves of hIoU over the labelled fraction: the reference, our strategy, and the best others by area.

    Only the first two have bands: more of them hide each other, and the tables have all intervals.
    """
    kept = [a for a in scenario.arms if a.strategy == "aczerots" or a.group.label == scenario.reference]
    best = sorted((a for a in scenario.arms if a not in kept), key=lambda a: a.rank)
    shown = [*kept, *best][:_SHOWN]
    arms = [a for a in scenario.arms if a in shown]
    levels = mean_defined(a.group.zero_shot for a in arms), mean_defined(a.group.full for a in arms)
    curves = [a.curve if a in kept[:2] else replace(a.curve, low=None, high=None) for a in arms]
    return budget_figure(curves, *levels, close_up=True)


def differences_figure(scenario: Scenario) -> str | None:
    """Paired differences of the area to the reference; None where there is nothing to compare."""
    rows = [(a.group.label, a.difference) for a in scenario.arms if a.difference is not None]
    return difference_figure(rows, scenario.reference) if rows else None


def write_pages(
    protocol: Protocol,
    done: Sequence[FinishedRun],
    scenarios: Sequence[Scenario],
    failures: Sequence[tuple[PlannedRun, str]],
    out: Path,
) -> list[Path]:
    """Write ``index.html``, ``results.md`` and the figures.

    Args:
        protocol: The experiment.
        done: Finished runs.
        scenarios: Their statistics.
        failures: (run, reason) of failed ones.
        out: Folder of the experiment.

    Returns:
        What was written.

    Raises:
        StorageError: A file cannot be written.
    """
    make_folder(out / "figures")
    figures = [(s, curves_figure(s), differences_figure(s)) for s in scenarios]
    values = {
        "title": protocol.title,
        "name": protocol.name,
        "notes": protocol.notes,
        "runs": len(done),
        "hashes": sorted({d.run.record.hashes.get("backbone", "?") for d in done}),
        "failures": failures,
        "overall": overall(scenarios),
        "scenarios": figures,
        "shown": _SHOWN,
        "goal": round(100 * GOAL),
    }
    pages = {"index.html": render("experiment.html", values), "results.md": render("experiment.md", values)}
    for scenario, *drawn in figures:
        stem = re.sub(r"[^\w]+", "_", f"{scenario.dataset} {scenario.unseen or 'none'} {scenario.budget}").strip("_")
        for kind, svg in zip(("curves", "differences"), drawn, strict=True):
            if svg is not None:
                pages[f"figures/{stem}-{kind}.svg"] = svg + "\n"
    for name, text in pages.items():
        write_text_atomic(out / name, text)
    return [out / name for name in pages]
