"""The report of a project: one self-contained HTML file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aczerots.annotation.overlays import find_unseen
from aczerots.annotation.store.records import WITH_MASK
from aczerots.project.agreement import agreement
from aczerots.project.folder import Project
from aczerots.project.status import class_rows, newest_metrics, round_rows, score_note
from aczerots.report.compare import Curve
from aczerots.report.figures import budget_figure
from aczerots.report.images import overlay
from aczerots.report.page import render
from aczerots.report.pictures import Panel, data_uri
from aczerots.storage.files import write_text_atomic

PICTURES = 4
"""Tiles shown per unseen class."""


@dataclass(frozen=True)
class Annotator:
    """What one person did.

    Attributes:
        name: Who.
        answers: Answers given, newer ones for the same tile counted too.
        drawn: Those with a drawing.
        minutes: Time spent.
    """

    name: str
    answers: int
    drawn: int
    minutes: float


def write_project_report(project: Project, out: Path) -> None:
    """Write rounds, classes, minutes, agreement and pictures of a project.

    Args:
        project: The project.
        out: The HTML file, self-contained; replaced if there.

    Raises:
        InputError: A slide is missing or has changed.
        StorageError: The page cannot be written.
    """
    progress = project.store.progress()
    rounds = [r for r in round_rows(project, progress) if r["asked"] or r["state"] != "proposed"]
    found = {r.number: r.metrics for r in project.store.rounds.all() if r.metrics}
    measured = {number: metrics for number, metrics in found.items() if metrics.get("measured_tiles")}
    settings = project.settings.model_dump(mode="json", exclude={"classes", "database"})
    values = {
        "title": project.folder.resolve().name,
        "taxonomy": project.taxonomy,
        "slides": len(project.store.rounds.slides()),
        "tiles": progress.tiles,
        "refused": progress.refused,
        "rounds": rounds,
        "newest": newest_metrics(project),
        "note": score_note(newest_metrics(project)),
        "minutes": sum(r["minutes"] for r in rounds),
        "curve": _curve(list(measured.values()), progress.tiles),
        "classes": [
            {**row, "ious": [metrics.get(f"iou:{row['class']}") for metrics in measured.values()]}
            for row in class_rows(project, progress)
        ],
        "measured": list(measured),
        "people": _annotators(project),
        "agreement": [_without_nan(vars(a)) for a in agreement(project) if a.tiles],
        "sightings": _pictures(project),
        "settings": settings,
    }
    write_text_atomic(out, render("project.html", values))


def _curve(measured: Sequence[Mapping[str, Any]], tiles: int) -> str:
    """Mean IoU of seen classes over the drawn fraction of the pool; empty with fewer than two measured rounds."""
    if len(measured) < 2:
        return ""
    fractions, scores = zip(*((m["drawn_tiles"] / tiles, m["miou_seen"]) for m in measured), strict=True)
    return budget_figure([Curve("", fractions, scores)], score="mIoU of drawn classes")


def _annotators(project: Project) -> list[Annotator]:
    """What everybody did, the busiest first."""
    found: dict[str, list[tuple[bool, float]]] = {}
    for author, kind, seconds in project.store.answers.efforts():
        found.setdefault(author, []).append((kind in WITH_MASK, seconds))
    people = [
        Annotator(name, len(said), sum(drawn for drawn, _ in said), sum(seconds for _, seconds in said) / 60)
        for name, said in found.items()
    ]
    return sorted(people, key=lambda p: (-p.answers, p.name))


def _pictures(project: Project) -> list[tuple[str, list[Panel]]]:
    """Tiles where the newest drafts show unseen classes: (title, the tile without and with the draft)."""
    tiles, out = project.store.rounds.tiles(), []
    for found in find_unseen(project.store, tiles, project.taxonomy, PICTURES):
        tile = tiles[found.position]
        image = project.slides[tile.slide].read(tile.window, (tile.size, tile.size))[tile.inner]
        seen = overlay(image, found.mask[tile.inner], project.taxonomy)
        title = (
            f"{project.taxonomy.names[found.label]}: {100 * found.fraction:.1f} % of {tile.id}, "
            f"as the model of {found.model.replace('-', ' ')} sees it"
        )
        out.append((title, [Panel("Image", data_uri(image)), Panel("Prediction", data_uri(seen))]))
    return out


def _without_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
