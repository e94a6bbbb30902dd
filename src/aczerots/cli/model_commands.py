"""Commands on fitted models and finished runs: predict, evaluate, report."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Exit, Option, echo

import aczerots as az
from aczerots.cli.console import ConsoleProgress, head_of, show_json, show_rows
from aczerots.cli.options import Computing, Json, Workers
from aczerots.errors import SettingsError


def predict(  # noqa: PLR0913, PLR0917  # one parameter per option: typer reads them off the signature
    model: Annotated[str, Argument(help="model.safetensors of a run, or a project folder.")],
    slides: Annotated[list[str], Argument(help="Whole slides or plain images to segment, paths or URLs.")],
    out: Annotated[str, Option(help="Output folder or URL (s3://...); interrupted work goes on there.")],
    workers: Workers,
    computing: Computing,
    mpp: Annotated[float | None, Option(help="Micrometres per pixel of all slides, whatever files state.")] = None,
    add_class: Annotated[list[str] | None, Option(help="A further class: 'name' or 'name: description'.")] = None,
    probabilities: Annotated[bool, Option("--probabilities", help="Write class probabilities too.")] = False,
    everywhere: Annotated[bool, Option("--everywhere", help="Label glass too, not only tissue.")] = False,
    tissue: Annotated[str | None, Option(help="What gets a class: auto, everywhere, or a folder of masks.")] = None,
    overlap: Annotated[float | None, Option(help="Fraction of a window that the next one repeats.")] = None,
    part: Annotated[str | None, Option(help="Only the i-th of n parts of the slides: i/n.")] = None,
    as_json: Json = False,
) -> None:
    """Segment slides: label pyramids or masks, polygons, areas, overlays."""
    from aczerots.predict.slide_map import MapOptions
    from aczerots.predict.slides import read_part
    from aczerots.project.folder import is_project, newest_model, resolution_note
    from aczerots.project.settings import read_settings
    from aczerots.slides.labelled import AUTO, named_rule

    if overlap is not None and not 0 <= overlap <= 0.75:
        raise SettingsError(f"an overlap of {overlap:g} is out of range", where="--overlap", fix="Use 0 to 0.75")
    folder = Path(model)
    note = resolution_note(folder, slides, mpp) if mpp is not None and is_project(folder) else None
    if note is not None:
        ConsoleProgress().say(note)
    if tissue is None:
        rule = named_rule(read_settings(folder).tissue, folder) if is_project(folder) else AUTO
    else:
        rule = named_rule(tissue)
    rows, failures = az.predict_slides(
        newest_model(folder) if is_project(folder) else model,
        slides,
        out,
        mpp=mpp,
        add_classes=add_class or (),
        options=MapOptions(probabilities, everywhere, overlap, tissue=rule),
        engine=workers.open(computing.device),
        part=None if part is None else read_part(part),
        progress=ConsoleProgress(),
        compiled=computing.compiled,
        trust_remote_code=computing.trust_remote_code,
    )
    if as_json:
        show_json(rows)
    elif rows:
        show_rows(rows, f"Area fraction per class; the maps and areas.csv are in {out}", classes=[*rows[0]][1:])
        echo("Next: look at the overlays there, or open an image in QuPath and drag its GeoJSON onto it")
    for failure in failures:
        echo(f"error: {failure}", err=True)
    if failures:
        raise Exit(1)


def evaluate(
    model: Annotated[Path, Argument(help="model.safetensors of a run, or a project folder.")],
    computing: Computing,
    dataset: Annotated[str | None, Argument(help="Dataset with a test part; a project needs none.")] = None,
    as_json: Json = False,
) -> None:
    """Measure a model on the test part of a dataset, or the newest round of a project on tiles left out of fits."""
    from aczerots.project.folder import is_project, newest_model
    from aczerots.project.rounds import measure_round
    from aczerots.project.status import score_note

    following = mind = None
    if dataset is not None:
        found = az.evaluate_model(newest_model(model), dataset, progress=ConsoleProgress(), **asdict(computing))
        row: dict[str, Any] = dict(found)
    elif is_project(model):
        with az.open_project(model) as project:
            row = measure_round(project, computing.running())
            mind = score_note(row)
            following = project.next_step()
    else:
        raise SettingsError("there is nothing to measure on", fix="Name a dataset: aczerots evaluate MODEL DATASET")
    if as_json:
        show_json(row)
        return
    title = f"{model} on {dataset or 'drawn tiles that were left out'}"
    show_rows([{"measure": head_of(name), "value": value} for name, value in row.items()], title)
    if mind is not None:
        echo(f"Mind: {mind}")
    if following is not None:
        echo(f"Next: {following}; or look at the report: aczerots report {model}")


def report(
    runs: Annotated[list[Path], Argument(help="Output folders of runs, or one project folder.")],
    out: Annotated[Path | None, Option(help="HTML file; default comparison.html, or report.html in a project.")] = None,
) -> None:
    """Draw several runs into one comparison, or a project into a report of its rounds."""
    from aczerots.project.folder import is_project
    from aczerots.project.report import write_project_report
    from aczerots.report import write_report

    following = "open it in a browser"
    projects = [path for path in runs if is_project(path)]
    if projects and len(runs) > 1:
        raise SettingsError("a project has a report of its own", where=projects[0], fix="Name it alone")
    target = out or (projects[0] / "report.html" if projects else Path("comparison.html"))
    if projects:
        with az.open_project(projects[0]) as project:
            write_project_report(project, target)
            following += f"; then {project.next_step()}"
    else:
        write_report(runs, target)
    echo(f"Written: {target}")
    echo(f"Next: {following}")
