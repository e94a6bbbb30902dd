"""Figures, HTML page and Markdown tables of an experiment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aczerots.report.compare import Estimate
from aczerots.report.figures import budget_figure, difference_figure
from aczerots.report.page import render
from aczerots.simulate.experiment.planned import PlannedRun
from aczerots.simulate.experiment.protocol import Protocol
from aczerots.simulate.experiment.summary import GOAL, Arm, Overall, Scenario, mean_defined, overall
from aczerots.simulate.experiment.table import FinishedRun
from aczerots.storage.files import make_folder, write_text_atomic

_NONE = "\N{EN DASH}"
_SHOWN = 6
"""Curves in one figure; more cannot be told apart."""


def curves_figure(scenario: Scenario) -> str:
    """Curves of hIoU over the share drawn: the reference, our strategy, and the best others by area.

    Only the first two have bands: more of them hide each other, and the tables have all intervals.
    """
    kept = [a for a in scenario.arms if a.strategy == "aczerots" or a.group.label == scenario.reference]
    best = sorted((a for a in scenario.arms if a not in kept), key=lambda a: a.rank)
    shown = [*kept, *best][:_SHOWN]
    arms = [a for a in scenario.arms if a in shown]
    levels = mean_defined([a.zero_shot for a in arms]), mean_defined([a.full for a in arms])
    curves = [a.curve if a in kept[:2] else replace(a.curve, low=None, high=None) for a in arms]
    return budget_figure(curves, *levels, close_up=True)


def differences_figure(scenario: Scenario) -> str | None:
    """Paired differences of the area to the reference; None where there is nothing to compare."""
    pairs = [(a.group.label, a.difference) for a in scenario.arms if a.difference is not None]
    rows = [(label, d.mean, d.low, d.high) for label, d in pairs if d is not None]
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
    figures = out / "figures"
    make_folder(figures)
    sections, written = [], []
    for scenario in scenarios:
        curves, differences = curves_figure(scenario), differences_figure(scenario)
        sections.append((scenario, curves, differences))
        stem = re.sub(r"[^\w]+", "_", f"{scenario.dataset} {scenario.unseen or 'none'} {scenario.budget}").strip("_")
        for kind, svg in (("curves", curves), ("differences", differences)):
            if svg is not None:
                written.append(figures / f"{stem}-{kind}.svg")
                write_text_atomic(written[-1], svg + "\n")
    values = {
        "title": protocol.title,
        "notes": protocol.notes,
        "runs": len(done),
        "failures": failures,
        "overall": overall(scenarios),
        "scenarios": sections,
        "shown": _SHOWN,
        "goal": round(100 * GOAL),
    }
    pages = {"index.html": render("experiment.html", values), "results.md": markdown(protocol, done, scenarios)}
    for name, text in pages.items():
        write_text_atomic(out / name, text)
    return [*(out / name for name in pages), *written]


def markdown(protocol: Protocol, done: Sequence[FinishedRun], scenarios: Sequence[Scenario]) -> str:
    """The tables as Markdown, for ``docs/results.md``."""
    hashes = sorted({d.run.record.hashes.get("backbone", "?") for d in done})
    head = [
        f"## {protocol.title}",
        f"{len(done)} runs of protocol `{protocol.name}`, backbone {', '.join(f'`{h}`' for h in hashes)}. Means over "
        "seeds with half widths of 95 % t-intervals; differences are paired by seed, with the p-value of the paired "
        "t-test, not corrected for the number of comparisons. Area: mean hIoU over the budget, round 0 included. "
        f"Share: part of the pool at which the mean hIoU reaches {100 * GOAL:.0f} % of the full-label hIoU; "
        "ratio: that over the reference's. Reached in: sets of unseen classes in which it does so; at a share of: mean "
        "over these.",
    ]
    if protocol.notes:
        head.append(protocol.notes)
    parts = ["\n\n".join(head)]
    if means := overall(scenarios):
        parts.append("### Over all unseen sets\n\n" + _overall_table(means))
    for s in scenarios:
        title = f"### {s.dataset}, {s.unseen or 'no class'} unseen ({s.budget}; reference {s.reference})"
        parts.append(f"{title}\n\n{_arm_table(s)}")
    return "\n\n".join(parts) + "\n"


def _overall_table(rows: Sequence[Overall]) -> str:
    """Means over unseen sets."""
    head = (
        "| dataset | strategy | sets | seeds | area | minus reference | p | reached in | at a share of |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    lines = [
        f"| {o.dataset} | {o.label} | {o.scenarios} | {o.area.n} | {_number(o.area)} | {_gap(o.difference)} | "
        f"{_chance(o.p)} | {o.reached} of {o.scenarios} | {_percent(o.share)} |"
        for o in rows
    ]
    return "\n".join([head, *lines])


def _arm_table(scenario: Scenario) -> str:
    """Arms of a scenario, best area first."""
    head = (
        "| strategy | seeds | area | minus reference | p | final hIoU | zero-shot | all labels | share | ratio |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )
    return "\n".join([head, *(_arm_line(a) for a in sorted(scenario.arms, key=lambda a: a.rank))])


def _arm_line(a: Arm) -> str:
    """One arm."""
    share = _percent(a.share)
    ratio = _NONE if a.ratio is None else f"{a.ratio:.2f}"
    numbers = [_number(a.area), _gap(a.difference), _chance(a.p), _number(a.final), _score(a.zero_shot), _score(a.full)]
    return f"| {a.group.label} | {len(a.group.runs)} | {' | '.join(numbers)} | {share} | {ratio} |"


def _percent(value: float | None) -> str:
    return _NONE if value is None else f"{100 * value:.1f} %"


def _score(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}".removeprefix("0")


def _number(e: Estimate | None) -> str:
    """Mean with the half width of its interval."""
    if e is None:
        return _NONE
    half = "" if e.high is None else f" ± {_score(e.high - e.mean)}"
    return _score(e.mean) + half


def _gap(e: Estimate | None) -> str:
    """A difference, bold where its interval leaves out zero."""
    if e is None:
        return _NONE
    text = f"{e.mean:+.3f}".replace("0.", ".", 1) + ("" if e.high is None else f" ± {_score(e.high - e.mean)}")
    clear = e.low is not None and e.high is not None and not e.low <= 0 <= e.high
    return f"**{text}**" if clear else text


def _chance(p: float | None) -> str:
    if p is None:
        return _NONE
    return "< .001" if p < 0.001 else _score(p)
