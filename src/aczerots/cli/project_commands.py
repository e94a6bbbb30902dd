"""The loop of a lab's own project: init, select, fit, run, status."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Argument, Option, echo

import aczerots as az
from aczerots.cli.console import ConsoleProgress, count_of, show_json, show_rows
from aczerots.cli.options import Computing, Embedding, Json, Learning, Limits, ProjectFolder, RemoteCode

RARE = ("no_seen_class", "cannot_tell", "skipped", "lent", "change", "coverage", "miou_seen", "accepted_fraction")
"""Columns of the table of rounds that are left out while they are empty."""


def init(  # noqa: PLR0913, PLR0917  # one parameter per option: typer reads them off the signature
    project: Annotated[Path, Argument(help="New folder for the project.")],
    slides: Annotated[list[str], Option(help='Images: a quoted pattern, "scans/*.png", or URL; several times.')],
    classes: Annotated[str, Option(help='YAML file, or "tumor:seen,stroma:seen,necrosis:unseen".')],
    embedding: Embedding,
    learning: Learning,
    limits: Limits,
    mpp: Annotated[float | None, Option(help="Micrometres per pixel to read at; without it, pixels as is.")] = None,
    slide_mpp: Annotated[float | None, Option(help="Of all slides at full resolution, whatever files state.")] = None,
    tissue: Annotated[str, Option(help="What gets a class: auto, everywhere, or a folder of masks.")] = "auto",
    budget: Annotated[int, Option(help="Tiles per round.")] = 10,
    patients: Annotated[str | None, Option(help="CSV file: slide, patient, mpp (of the file), or two.")] = None,
    double: Annotated[float, Option(help="Fraction of the tiles that two people draw independently.")] = 0.0,
    folds: Annotated[int, Option(help="Fits per round that leave drawn tiles out, to measure; 0 is none.")] = 5,
    database: Annotated[str | None, Option(help="postgresql+psycopg://USER@HOST/NAME for a group.")] = None,
    trust_remote_code: RemoteCode = False,
) -> None:
    """Make a project: a folder with your slides, your classes and a database."""
    from aczerots.backbones.locate import locate_backbone
    from aczerots.backbones.options import BackboneOptions
    from aczerots.project.classes import read_classes
    from aczerots.project.folder import init_project
    from aczerots.project.patients import read_patients
    from aczerots.project.settings import make_settings
    from aczerots.prozs.presets import locate_preset
    from aczerots.selection.locate import locate_strategy
    from aczerots.slides.labelled import named_rule

    chosen = asdict(embedding) | asdict(learning) | asdict(limits)
    chosen |= {"preset": locate_preset(learning.preset).name, "strategy": locate_strategy(learning.strategy).name}
    settings = make_settings(
        **chosen,
        classes=read_classes(classes),
        mpp=mpp,
        slide_mpp=slide_mpp,
        tissue=named_rule(tissue),
        budget=budget,
        patients=None if patients is None else str(Path(patients).resolve()),
        double=double,
        folds=folds,
        database=database,
    )
    if patients is not None:
        read_patients(Path(patients))  # before anything else is done
    # Opened once, so that a mistyped locator or missing weights are told now and not after hours of importing.
    options = BackboneOptions(settings.refine_with, settings.precision, trust_remote_code=trust_remote_code)
    locate_backbone(settings.backbone, "cpu", options)
    added = init_project(project, slides, settings, ConsoleProgress())
    with az.open_project(project) as made:
        there = made.store.progress()
    sizes = (
        count_of(there.slides, "slide"),
        count_of(there.tiles, "tile"),
        count_of(len(settings.classes), "class", "classes"),
    )
    left_out = f"; left out: {count_of(len(added.left_out), 'file')}" if added.left_out else ""
    echo(f"Made {project}: {', '.join(sizes)}{left_out}")
    echo(f"Next: aczerots select {project}")


def select(
    project: ProjectFolder,
    limits: Limits,
    computing: Computing,
    strategy: Annotated[str | None, Option(help="Instead of the project's.")] = None,
    budget: Annotated[int | None, Option(min=1, help="Tiles, instead of the project's.")] = None,
    as_json: Json = False,
) -> None:
    """Propose the tiles of the next round, each with the model's draft."""
    from aczerots.project.rounds import propose_round

    with az.open_project(project) as opened:
        done = propose_round(opened, computing.running(), strategy=strategy, budget=budget, **asdict(limits))
        tiles = opened.store.rounds.tiles()
        rows = [{"rank": p.rank, "tile": tiles[p.tile].id, "score": p.score, **p.components} for p in done.picks]
        following = opened.next_step()
    if as_json:
        show_json({"round": done.number, "new": done.new, "tiles": rows, "next": following})
        return
    show_rows(rows, f"Round {done.number}" if done.new else f"Round {done.number} is open already")
    echo(f"Next: {following}")


def fit(project: ProjectFolder, computing: Computing, as_json: Json = False) -> None:
    """Fit the model of the newest round to all answers."""
    from aczerots.project.rounds import fit_round

    with az.open_project(project) as opened:
        done = fit_round(opened, computing.running())
        following = opened.next_step()
    if as_json:
        show_json({**asdict(done), "next": following})
        return
    fitted = f"model fitted to {count_of(done.tiles, 'drawn tile')}"
    what = fitted if done.tiles else "nothing is drawn: the zero-shot model"
    echo(f"Round {done.number}: {what}, in {project / done.file}")
    if done.left:
        echo(f"{count_of(done.left, 'tile')} of the round had no answer; they may be chosen again")
    if done.change is not None:
        echo(f"{100 * done.change:.1f} % of the pool has another class than with the model before")
    if done.miou is not None:
        echo(f"mIoU of drawn classes is {done.miou:.3f}, on drawn tiles that were left out of the fit")
    if done.note is not None:
        echo(f"Mind: {done.note}")
    echo(f"Next: {following}; or use the model: aczerots predict {project} IMAGES --out FOLDER")


def run(
    project: ProjectFolder,
    computing: Computing,
    rounds: Annotated[int, Option(min=1, help="Rounds to go through from here.")] = 1,
    every: Annotated[float, Option(min=0.1, help="Seconds between looks at the answers.")] = 5.0,
) -> None:
    """The loop: propose a round, wait until every tile has its answer, fit; goes on after an interrupt."""
    from aczerots.project.rounds import go_round

    running = computing.running()
    with az.open_project(project) as opened:
        for _ in range(rounds):
            done = go_round(opened, running, every)
            fitted = count_of(done.tiles, "drawn tile")
            echo(f"Round {done.number}: model fitted to {fitted}, in {project / done.file}")
        following = opened.next_step()
    echo(f"Next: {following}")


def status(project: ProjectFolder, as_json: Json = False) -> None:
    """Where the project stands, per round and per class, and what to do next."""
    from aczerots.project.agreement import agreement
    from aczerots.project.status import advice, class_rows, newest_metrics, round_rows, score_note

    with az.open_project(project) as opened:
        progress = opened.store.progress()
        read_twice = [asdict(a) for a in agreement(opened) if a.tiles]
        rounds, classes = round_rows(opened, progress), class_rows(opened, progress)
        slides, following = progress.slides, opened.next_step()
        note = score_note(newest_metrics(opened))
    suggestion = advice(rounds)
    if as_json:
        counts = {"slides": slides, "tiles": progress.tiles, "refused": progress.refused}
        tables = {"rounds": rounds, "classes": classes, "agreement": read_twice}
        show_json({**counts, **tables, "note": note, "advice": asdict(suggestion), "next": following})
        return
    echo(f"{project}: {count_of(slides, 'slide')}, {count_of(progress.tiles, 'tile')}")
    if rounds:
        empty = {key for key in RARE if not any(row[key] for row in rounds)}
        shown = [{**row, "minutes": f"{row['minutes']:.1f}"} for row in rounds]
        show_rows([{k: v for k, v in row.items() if k not in empty} for row in shown], "Rounds")
    show_rows(classes, "Classes")
    if note is not None:
        echo(f"IoU: {note}")
    if read_twice:
        show_rows(read_twice, "Agreement of the two readings")
    if progress.refused:
        echo(f"{count_of(progress.refused, 'answer')} that came too late: kept aside")
    if suggestion.stop:
        echo(f"You may stop here. {suggestion.reason}")
    echo(f"Next: {following}")
