"""The figures and tables of the page as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aczerots.report.compare import Estimate, SeedGroup, area_under_curve, estimate, final_hiou, mean_defined
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
    fraction = [r.labelled_fraction for r in run.rounds]
    full = run.record.full_label or {}
    rows = []
    for c in run.record.taxonomy.classes:
        iou = [r.iou[c.name] for r in run.rounds]
        color = "#{:02x}{:02x}{:02x}".format(*c.color)
        figure = class_figure(c.name, c.seen, fraction, iou) if len(iou) > 1 else ""
        rows.append(ClassRow(c.name, color, c.seen, iou, full.get(f"iou:{c.name}"), figure))
    return rows


def run_curve(run: Run) -> str:
    """The hIoU of one run over the labelled fraction, with its zero-shot and full-label levels."""
    curve = Curve(run.record.name, [r.labelled_fraction for r in run.rounds], [r.hiou for r in run.rounds])
    return budget_figure([curve], run.zero_shot_hiou, run.full_hiou)


@dataclass(frozen=True)
class GroupRow:
    """A group in the comparison, with final hIoU and area under the curve minus the reference's."""

    group: SeedGroup
    final_difference: Estimate | None
    area_difference: Estimate | None


@dataclass(frozen=True)
class Comparison:
    """The groups of one dataset; ``reference`` is the label that differences are taken to."""

    dataset: str
    figure: str
    rows: list[GroupRow]
    reference: str


def _group_row(group: SeedGroup, reference: SeedGroup) -> GroupRow:
    """A group and its paired differences to the reference."""
    if group is reference or group.all_labels:
        return GroupRow(group, None, None)
    return GroupRow(group, *(estimate(group.differences(reference, s)) for s in (final_hiou, area_under_curve)))


def comparisons(groups: Sequence[SeedGroup]) -> list[Comparison]:
    """One comparison per dataset; its reference is random selection if that was run, else the first group."""
    result = []
    for dataset in dict.fromkeys(group.dataset for group in groups):
        members = [group for group in groups if group.dataset == dataset]
        curved = [group for group in members if not group.all_labels]
        random = (g for g in curved if g.runs[0].record.strategy == "random")
        reference = next(random, (curved or members)[0])
        runs = [run for group in members for run in group.runs]
        full = [final_hiou(run) for group in members if group.all_labels for run in group.runs]
        figure = budget_figure(
            [group.curve() for group in curved],
            zero_shot=mean_defined(run.zero_shot_hiou for run in runs),
            full_label=mean_defined(full or [run.full_hiou for run in runs]),
        )
        result.append(Comparison(dataset, figure, [_group_row(group, reference) for group in members], reference.label))
    return result
