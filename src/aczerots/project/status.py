"""Where a project stands, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aczerots.annotation.stopping import Advice, stopping_criterion
from aczerots.annotation.store.progress import Progress
from aczerots.annotation.store.records import AnswerKind, RoundState
from aczerots.project.folder import Project


def round_rows(project: Project, progress: Progress) -> list[dict[str, Any]]:
    """A row per round: state, strategy, answers, minutes, what the model changed, covers and reaches."""
    records = {r.number: r for r in project.store.rounds.all()}
    rows = []
    for one in progress.rounds:
        record, metrics = records[one.number], records[one.number].metrics or {}
        said = {str(kind): one.kinds.get(kind, 0) for kind in AnswerKind}
        rows.append(
            {
                "round": one.number,
                "state": str(one.state),
                "strategy": record.strategy,
                "asked": one.asked,
                "answered": one.answered,
                "left": one.left,
                "drawn": said["drawn"] + said["accepted"],
                **{kind: said[kind] for kind in ("no_seen_class", "cannot_tell", "skipped")},
                "lent": one.leased,
                "minutes": round(one.seconds / 60, 1),
                **{name: metrics.get(name) for name in ("change", "coverage", "miou_seen", "accepted_fraction")},
            }
        )
    return rows


def advice(rows: Sequence[Mapping[str, Any]]) -> Advice:
    """Whether further rounds still change much, from :func:`round_rows`; the page says the same."""
    known = {key: {r["round"]: r[key] for r in rows if r[key] is not None} for key in ("change", "coverage")}
    return stopping_criterion(known["change"], known["coverage"])


def class_rows(project: Project, progress: Progress) -> list[dict[str, Any]]:
    """A row per class: whether it is seen, tiles and fraction of the drawn pixels, IoU of the newest measured round."""
    measured = newest_metrics(project)
    counts = {c.label: c for c in progress.classes}
    total = sum(c.pixels for c in progress.classes) or 1
    rows = []
    for label, tissue in enumerate(project.taxonomy.classes):
        found = counts.get(label)
        rows.append(
            {
                "class": tissue.name,
                "seen": "yes" if tissue.seen else "no",
                "tiles": found.tiles if found else 0,
                "share_of_drawn": found.pixels / total if found else 0.0,
                "iou": measured.get(f"iou:{tissue.name}"),
            }
        )
    return rows


def newest_metrics(project: Project) -> Mapping[str, Any]:
    """Metrics of the newest round that was measured, empty before the first."""
    measured = [r.metrics for r in project.store.rounds.all() if r.state is RoundState.EVALUATED and r.metrics]
    return measured[-1] if measured else {}


def score_note(metrics: Mapping[str, Any]) -> str | None:
    """What must be said beside the scores of a round: that drafts were accepted unchanged; None if none were."""
    fraction = metrics.get("accepted_fraction")
    if not fraction:
        return None
    if fraction == 1:
        return (
            "all drawn tiles are drafts accepted unchanged: the scores say how far models agree with drafts of models, "
            "not how good they are. Correct some tiles, or draw them from scratch"
        )
    return f"{max(1, round(100 * fraction))} % of the drawn tiles are drafts accepted unchanged; measured on the others"
