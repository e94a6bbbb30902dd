"""The figures and tables of the page as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aczerots.report.compare import (
    Estimate,
    Group,
    area_under_curve,
    estimate,
    final_hiou,
    group_curve,
    paired_difference,
)
from aczerots.report.figures import Curve, budget_figure, class_figure
from aczerots.report.runs import Run


@dataclass(frozen=True)
class ClassRow:
    """IoU of a class: at each round, with all labels, and as a small figure."""

    name: str
    color: str
    seen: bool
    iou: list[float | None]
    full: float | None
    figure: str


def class_rows(run: Run) -> list[ClassRow]:
    """One row per class in label order."""
    share = [r.labelled_fraction for r in run.rounds]
    full = run.record.full_label or {}
    rows = []
    for c in run.record.taxonomy.classes:
        iou = [r.iou[c.name] for r in run.rounds]
        color = "#{:02x}{:02x}{:02x}".format(*c.color)
        figure = class_figure(c.name, c.seen, share, iou) if len(iou) > 1 else ""
        rows.append(ClassRow(c.name, color, c.seen, iou, full.get(f"iou:{c.name}"), figure))
    return rows


def run_curve(run: Run) -> str:
    """The hIoU of one run over the labelled share, with its zero-shot and full-label levels."""
    share = [r.labelled_fraction for r in run.rounds]
    curve = Curve(run.record.name, share, [r.hiou for r in run.rounds])
    return budget_figure([curve], run.zero_shot_hiou, run.full_hiou)


@dataclass(frozen=True)
class GroupRow:
    """A group in the comparison: final hIoU, area under the curve, and both minus the reference's."""

    group: Group
    final: Estimate | None
    area: Estimate | None
    final_difference: Estimate | None
    area_difference: Estimate | None


@dataclass(frozen=True)
class Comparison:
    """The groups of one dataset; ``reference`` is the label that differences are taken to."""

    dataset: str
    figure: str
    rows: list[GroupRow]
    reference: str


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the defined values, None without any."""
    defined = [v for v in values if v is not None]
    return float(np.mean(defined)) if defined else None


def _group_row(group: Group, reference: Group) -> GroupRow:
    """Estimates of a group and its paired differences to the reference."""
    final = [v for v in map(final_hiou, group.runs) if v is not None]
    area = [v for v in map(area_under_curve, group.runs) if v is not None and not group.full]
    differences = (None, None) if group is reference or group.full else paired_difference(group, reference)
    return GroupRow(group, estimate(final), estimate(area), *differences)


def comparisons(groups: Sequence[Group]) -> list[Comparison]:
    """One comparison per dataset; its reference is random selection if that was run, else the first group."""
    result = []
    for dataset in dict.fromkeys(group.dataset for group in groups):
        members = [group for group in groups if group.dataset == dataset]
        curved = [group for group in members if not group.full]
        random = (g for g in curved if g.runs[0].record.strategy == "random")
        reference = next(random, (curved or members)[0])
        runs = [run for group in members for run in group.runs]
        full = [final_hiou(run) for group in members if group.full for run in group.runs]
        figure = budget_figure(
            [group_curve(group) for group in curved],
            zero_shot=_mean([run.zero_shot_hiou for run in runs]),
            full_label=_mean(full or [run.full_hiou for run in runs]),
        )
        rows = [_group_row(group, reference) for group in members]
        result.append(Comparison(dataset, figure, rows, reference.label))
    return result
