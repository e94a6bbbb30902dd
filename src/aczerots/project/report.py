"""The report of a project: one self-contained HTML file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aczerots.annotation.overlays import Sighting, find_unseen
from aczerots.annotation.store.records import AnswerKind
from aczerots.project.agreement import agreement
from aczerots.project.folder import Project
from aczerots.project.status import class_rows, newest_metrics, round_rows
from aczerots.report.figures import Curve, budget_figure
from aczerots.report.images import overlay
from aczerots.report.page import render
from aczerots.report.pictures import Panel, data_uri
from aczerots.storage.files import write_text_atomic

PICTURES = 4
"""Tiles shown per unseen class."""


@dataclass(frozen=True)
class Share:
    """What one annotator did.

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
    metrics = {r.number: r.metrics or {} for r in project.store.rounds.all()}
    settings = project.settings.model_dump(mode="json", exclude={"classes", "database"})
    values = {
        "title": project.folder.resolve().name,
        "taxonomy": project.taxonomy,
        "slides": len(project.store.rounds.slides()),
        "tiles": progress.tiles,
        "refused": progress.refused,
        "rounds": rounds,
        "newest": newest_metrics(project),
        "minutes": sum(r["minutes"] for r in rounds),
        "curve": _curve(metrics, progress.tiles),
        "classes": _classes(class_rows(project, progress), metrics),
        "measured": sorted(n for n, m in metrics.items() if m.get("measured_tiles")),
        "people": _people(project),
        "agreement": [_without_nan(vars(a)) for a in agreement(project) if a.tiles],
        "sightings": [(_title(project, s), _panels(project, s)) for s in _sightings(project)],
        "settings": settings,
    }
    write_text_atomic(out, render("project.html", values))


def _curve(metrics: Mapping[int, Mapping[str, Any]], tiles: int) -> str:
    """Mean IoU of seen classes over the drawn share of the pool; empty with fewer than two measured rounds."""
    points = [(m["drawn_tiles"] / tiles, m["miou_seen"]) for _, m in sorted(metrics.items()) if m.get("measured_tiles")]
    if len(points) < 2:
        return ""
    share, score = zip(*points, strict=True)
    return budget_figure([Curve("", share, score)], score="mIoU of drawn classes")


def _classes(rows: Sequence[dict[str, Any]], metrics: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the table of classes, with the IoU of every measured round."""
    measured = [m for _, m in sorted(metrics.items()) if m.get("measured_tiles")]
    return [{**row, "ious": [m.get(f"iou:{row['class']}") for m in measured]} for row in rows]


def _people(project: Project) -> list[Share]:
    """What everybody did, the busiest first."""
    found: dict[str, list[tuple[AnswerKind, float]]] = {}
    for author, kind, seconds in project.store.answers.efforts():
        found.setdefault(author, []).append((kind, seconds))
    drawn = {AnswerKind.DRAWN, AnswerKind.ACCEPTED}
    shares = [
        Share(name, len(said), sum(kind in drawn for kind, _ in said), sum(s for _, s in said) / 60)
        for name, said in found.items()
    ]
    return sorted(shares, key=lambda s: (-s.answers, s.name))


def _sightings(project: Project) -> list[Sighting]:
    return find_unseen(project.store, project.store.rounds.tiles(), project.taxonomy, PICTURES)


def _title(project: Project, sighting: Sighting) -> str:
    name = project.taxonomy.names[sighting.label]
    tile = project.store.rounds.tiles()[sighting.position]
    seen_by = f"the model of {sighting.model.replace('-', ' ')}"
    return f"{name}: {100 * sighting.fraction:.1f} % of {tile.id}, as {seen_by} sees it"


def _panels(project: Project, sighting: Sighting) -> list[Panel]:
    """The tile, and the tile with what the model sees in it."""
    tile = project.store.rounds.tiles()[sighting.position]
    image = project.slides[tile.slide].read(tile.window, (tile.size, tile.size))[tile.inner]
    seen = overlay(image, sighting.mask[tile.inner], project.taxonomy)
    return [Panel("Image", data_uri(image)), Panel("Prediction", data_uri(seen))]


def _without_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
