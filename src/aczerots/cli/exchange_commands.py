"""Commands that bring slides and drawings into a project and out of it: import, export, ingest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, echo

import aczerots as az
from aczerots.cli.console import ConsoleProgress, count_of, show_json, show_rows
from aczerots.cli.options import Author, Json, ProjectFolder
from aczerots.errors import InputError, SettingsError

if TYPE_CHECKING:
    from aczerots.project.ingest import Ingested


def import_(
    project: ProjectFolder,
    slides: Annotated[list[str] | None, Option(help='More images: a quoted pattern, "more/*.png", or URL.')] = None,
    masks: Annotated[list[str] | None, Option(help="Label images named as their slides, 255 is nothing.")] = None,
    drawings: Annotated[list[str] | None, Option(help="GeoJSON files named as their slides.")] = None,
    author: Author = None,
    as_json: Json = False,
) -> None:
    """Add slides to a project, or drawings that exist already, as masks or GeoJSON."""
    from aczerots.project.folder import COPIES, add_slides
    from aczerots.project.ingest import Intake, ingest_files
    from aczerots.project.masks import import_masks
    from aczerots.project.slides import find_files

    if not (slides or masks or drawings):
        raise SettingsError("there is nothing to import", fix="Give --slides, --masks or --drawings")
    who, console = author or _login_name(), ConsoleProgress()
    # Every pattern is looked up before anything is added.
    label_images, outlines = find_files(masks or ()), find_files(drawings or ())
    with az.open_project(project) as opened:
        images = find_files(slides or (), project / COPIES, console)
        added = add_slides(opened, images, console)
        imported = import_masks(opened, label_images, who, console)
        reports = ingest_files(opened, outlines, Intake(who, "import", everywhere=True), progress=console)
        drawn = sum(r.answers for r in reports)
        answered = imported + drawn
        waiting = opened.store.progress().rounds[-1].left
        following = f"aczerots fit {project}" if answered and not waiting else opened.next_step()
    if as_json:
        counts = {"slides": added.new, "moved": added.moved, "masks": imported, "drawings": drawn}
        counts |= {"left_out": [str(error) for error in added.left_out]}
        show_json({**counts, "files": [_row(r) for r in reports], "next": following})
        return
    left_out = f"; left out: {count_of(len(added.left_out), 'file')}" if added.left_out else ""
    echo(f"Added {count_of(len(added.new), 'slide')} and {count_of(answered, 'drawn tile')}{left_out}")
    if added.moved:
        echo(f"Found {count_of(len(added.moved), 'slide')} at another place: {', '.join(added.moved)}")
    _show_reports(reports)
    echo(f"Next: {following}")


def export(
    project: ProjectFolder,
    form: Annotated[str, Option("--format", help="qupath (GeoJSON), png or ome-tiff (label images).")] = "qupath",
    out: Annotated[Path | None, Option(help="Folder; default is exports/ in the project.")] = None,
    number: Annotated[int | None, Option("--round", min=1, help="Round whose tiles go to QuPath.")] = None,
    as_json: Json = False,
) -> None:
    """Write the tiles of a round with their drafts for QuPath, or all drawings as label images."""
    from aczerots.project.masks import export_masks
    from aczerots.project.qupath import export_qupath

    if form not in {"qupath", "png", "ome-tiff"}:
        raise SettingsError(f"'{form}' is no format", where="--format", fix="Use qupath, png or ome-tiff")
    with az.open_project(project) as opened:
        if form == "qupath":
            newest = opened.store.rounds.newest()
            chosen = number if number is not None else 0 if newest is None else newest.number
            folder = out or opened.exports / f"round-{chosen}"
            written = export_qupath(opened, folder, chosen)
            nothing, fix = f"round {chosen} has no tiles", "Run: aczerots select"
        else:
            folder = out or opened.exports / form
            written = export_masks(opened, folder, form)
            nothing, fix = "nothing is drawn yet", "Annotate, or import drawings"
    if not written:
        raise SettingsError(nothing, where=project, fix=fix)
    following = f"aczerots ingest {project} FILES" if form == "qupath" else f"aczerots status {project}"
    if as_json:
        show_json({"written": [str(p) for p in written], "next": following})
        return
    echo(f"Written: {count_of(len(written), 'file')} in {folder}")
    if form == "qupath":
        echo("In QuPath: open the slide, drag its file onto it, correct the drafts, File > Export objects as GeoJSON")
    echo(f"Next: {following}")


def ingest(
    project: ProjectFolder,
    files: Annotated[list[Path], Argument(help="GeoJSON files named as their slides.")],
    slide: Annotated[str | None, Option(help="Slide of the only file, if it is named otherwise.")] = None,
    author: Author = None,
    accept_drafts: Annotated[
        bool, Option("--accept-drafts", help="Tiles whose drafts are unchanged were looked at and are right.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take drawings from QuPath's GeoJSON as answers for the tiles of the rounds."""
    from aczerots.project.ingest import Intake, ingest_files

    for path in files:
        if path.is_dir():
            raise InputError("is a folder", where=path, fix=f"Name its files: {path}/*.geojson")
        if not path.exists():
            raise InputError("there is no such file", where=path)
    intake = Intake(author or _login_name(), accept=accept_drafts)
    with az.open_project(project) as opened:
        reports = ingest_files(opened, files, intake, slide=slide, progress=ConsoleProgress())
        following = opened.next_step()
    if as_json:
        show_json({"files": [_row(r) for r in reports], "next": following})
        return
    _show_reports(reports)
    echo(f"Next: {following}")


def _login_name() -> str:
    """Who drew, if the command was not told."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise SettingsError("your name is not known", where="--author", fix="Give --author NAME") from None


def _row(report: Ingested) -> dict[str, Any]:
    """What became of a file, for JSON."""
    return {
        "file": report.file.name,
        "slide": report.slide,
        "drawings": report.drawings,
        "new_answers": report.answers,
        "known": report.unchanged,
        "drafts_untouched": report.untouched,
        "too_late": report.stale,
        "unused": [{"feature": u.number, "reason": u.reason} for u in report.unused],
    }


def _show_reports(reports: Sequence[Ingested]) -> None:
    """What became of the files, as a table and a line per problem."""
    if not reports:
        return
    show_rows([{**_row(r), "unused": len(r.unused)} for r in reports], "Drawings taken")
    for report in reports:
        for reason, count in report.reasons.items():
            first = next(u.number for u in report.unused if u.reason == reason)
            echo(f"{report.file.name}: not used: {count_of(count, 'feature')} ({reason}), first is feature {first}")
        if report.untouched:
            untouched = count_of(report.untouched, "tile")
            echo(f"{report.file.name}: {untouched} with the draft as it was; --accept-drafts takes them")
        if report.stale:
            stale = count_of(report.stale, "tile")
            echo(f"{report.file.name}: {stale} with a newer answer; the drawings are kept aside")
