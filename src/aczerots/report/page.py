"""The report page: one self-contained HTML file from one or several run folders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from aczerots.errors import SettingsError
from aczerots.report.compare import (
    Curve,
    Estimate,
    SeedGroup,
    area_under_curve,
    estimate,
    final_hiou,
    group_runs,
    mean_defined,
)
from aczerots.report.figures import budget_figure, class_figure
from aczerots.report.pictures import Panel, chosen_rounds, example_panels
from aczerots.report.runs import Run, read_run
from aczerots.storage.files import write_text_atomic
from aczerots.taxonomy import TissueClass


def _score(value: float | None) -> str:
    """A score with three digits; a dash where it is undefined."""
    return "\N{EN DASH}" if value is None else f"{value:.3f}"


def _short(value: float | None) -> str:
    """A score with three digits and no zero before the point."""
    return _score(value).removeprefix("0")


def _signed(value: float) -> str:
    """A difference with its sign, a true minus among them."""
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def _seconds(value: float) -> str:
    """A duration as a person says it."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _markdown(text: str) -> str:
    """A name as text in Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>|#&~$])", r"\\\1", " ".join(text.split()))


def render(template: str, values: Mapping[str, object]) -> str:
    """Fill a template of this package. No name from a file can become markup.

    In HTML everything is escaped; in Markdown what goes through the filter ``markdown``.
    """
    environment = Environment(
        loader=PackageLoader("aczerots.report", "."),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(markdown=_markdown, score=_score, short=_short, signed=_signed, seconds=_seconds)
    return environment.get_template(template).render(values)


@dataclass(frozen=True)
class ClassRow:
    """IoU of a class: at each round, with all labels, and as a small figure."""

    kind: TissueClass
    iou: list[float | None]
    full: float | None
    figure: str


def _class_rows(run: Run) -> list[ClassRow]:
    """One row per class in label order."""
    fraction = [r.labelled_fraction for r in run.rounds]
    full = run.record.full_label or {}
    rows = []
    for c in run.record.taxonomy.classes:
        iou = [r.iou[c.name] for r in run.rounds]
        figure = class_figure(c.name, c.seen, fraction, iou) if len(iou) > 1 else ""
        rows.append(ClassRow(c, iou, full.get(f"iou:{c.name}"), figure))
    return rows


@dataclass(frozen=True)
class GroupRow:
    """A group in the comparison; its final hIoU and area under the curve minus the reference's."""

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


def _by_dataset(groups: Sequence[SeedGroup]) -> list[tuple[str, list[SeedGroup]]]:
    names = dict.fromkeys(group.dataset for group in groups)
    return [(name, [group for group in groups if group.dataset == name]) for name in names]


def _comparisons(groups: Sequence[SeedGroup]) -> list[Comparison]:
    """One comparison per dataset; its reference is random selection if that was run, else the first group."""
    result = []
    for dataset, members in _by_dataset(groups):
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


def _shared_examples(groups: Sequence[SeedGroup]) -> list[tuple[str, list[Panel]]]:
    """Examples that all groups of a dataset have: image and truth once, one prediction per group."""
    result = []
    for dataset, members in _by_dataset(groups):
        runs = [group.runs[0] for group in members]
        found = [{e.name: e for e in run.examples} for run in runs]
        for name in sorted(set.intersection(*map(set, found))):
            pairs = zip(found, runs, strict=True)
            panels = [example_panels(examples[name], run.record.taxonomy) for examples, run in pairs]
            predictions = [Panel(group.label, p[2].uri) for group, p in zip(members, panels, strict=True)]
            result.append((f"{dataset}: {name}", [*panels[0][:2], *predictions]))
    return result


def _single(run: Run) -> dict[str, object]:
    """What the template needs for one run."""
    curve = Curve(run.record.name, [r.labelled_fraction for r in run.rounds], [r.hiou for r in run.rounds])
    return {
        "title": run.record.name,
        "run": run,
        "area": area_under_curve(run),
        "curve": budget_figure([curve], run.zero_shot_hiou, run.full_hiou),
        "classes": _class_rows(run),
        "examples": [(e.name, example_panels(e, run.record.taxonomy)) for e in run.examples],
        "chosen": chosen_rounds(run),
    }


def _several(runs: Sequence[Run]) -> dict[str, object]:
    """What the template needs for a comparison."""
    groups = group_runs(runs)
    return {
        "title": f"Comparison of {len(runs)} runs",
        "comparisons": _comparisons(groups),
        "taxonomies": {run.record.dataset: run.record.taxonomy for run in runs},
        "examples": _shared_examples(groups),
        "runs": [(run, area_under_curve(run)) for group in groups for run in group.runs],
    }


def write_report(runs: Sequence[Path], out: Path) -> None:
    """Write the report of one run folder, or the comparison of several, as a self-contained HTML file.

    Raises:
        SettingsError: No run is given.
        InputError: A run folder is incomplete or damaged; the message names the file, and the line.
        StorageError: The page cannot be written.
    """
    if not runs:
        raise SettingsError("no run to report on", fix="Name one or more run folders")
    loaded = [read_run(folder) for folder in runs]
    page = render("page.html", _single(loaded[0])) if len(loaded) == 1 else render("comparison.html", _several(loaded))
    write_text_atomic(out, page)
