"""Commands on labelled data with a simulated expert: demo, simulate, experiment."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option, echo

import aczerots as az
from aczerots.cli.console import ConsoleProgress, show_json, show_rows
from aczerots.cli.options import Computing, Device, Embedding, Json, Learning, Limits, Seed

DEMO = {"dataset": "phantom:40", "unseen": ("necrosis",), "rounds": 4, "initial": 0.05, "budget": 0.1}


def demo(out: Annotated[Path, Option(help="Output folder.")] = Path("demo"), seed: Seed = 0) -> None:
    """Run the loop on procedural tissue; needs no data and no download."""
    rows = az.simulate(az.SimulateSettings(**DEMO, seed=seed), out, progress=ConsoleProgress())
    without_classes = [{k: v for k, v in row.items() if not k.startswith("iou:")} for row in rows]
    show_rows(without_classes, "Rounds on the phantom, necrosis unseen")
    echo(f"\nWritten: {out / 'metrics.csv'}, {out / 'report.html'}")
    echo("Next, on your own images (a folder with dataset.yaml, images/ and masks/):")
    echo('  aczerots simulate folder:PATH --unseen "a class nobody draws" --out runs/first')


def simulate(  # noqa: PLR0913, PLR0917  # one parameter per option: typer reads them off the signature
    dataset: Annotated[str, Argument(help="folder:PATH, bcss:PATH, voc:PATH, her2st:PATH, phantom:N, ...")],
    out: Annotated[Path, Option(help="Output folder; an interrupted run goes on there.")],
    embedding: Embedding,
    learning: Learning,
    limits: Limits,
    computing: Computing,
    unseen: Annotated[list[str] | None, Option(help="A class that nobody draws; several times.")] = None,
    without: Annotated[list[str] | None, Option(help="Switch off a term of the strategy.")] = None,
    descriptions: Annotated[Path | None, Option(help="File of descriptions, as `describe` writes it.")] = None,
    cache: Annotated[str, Option(help="Dense features on disk: dense, pooled (for large pools) or off.")] = "dense",
    rounds: Annotated[int, Option(help="Last round; round 0 is zero-shot.")] = 6,
    initial: Annotated[float, Option(help="Fraction of the pool drawn for round 1.")] = 0.05,
    first: Annotated[str, Option(help="What chooses the tiles of round 1: random or strategy.")] = "random",
    budget: Annotated[float, Option(help="Fraction of the pool per later round.")] = 0.15,
    full: Annotated[bool, Option("--full", help="Draw the whole pool at once: the full-label model.")] = False,
    as_json: Json = False,
) -> None:
    """Active learning on labelled images with a simulated expert."""
    chosen = asdict(embedding) | asdict(learning) | asdict(limits)
    chosen |= {"rounds": rounds, "initial": initial, "without": without or ()}
    if full:
        chosen |= {"strategy": "random", "rounds": 1, "initial": 1.0, "without": ()}
    settings = az.SimulateSettings(
        **chosen,
        dataset=dataset,
        unseen=unseen or (),
        descriptions=None if descriptions is None else str(descriptions),
        cache=cache,
        first=first,
        budget=budget,
    )
    rows = az.simulate(settings, out, progress=ConsoleProgress(), **asdict(computing))
    if as_json:
        show_json(rows)
        return
    show_rows(rows, f"{dataset}, strategy {settings.strategy}, preset {settings.preset}, seed {settings.seed}")
    echo(f"Written: {out / 'metrics.csv'}, {out / 'report.html'}")


def experiment(  # noqa: PLR0913, PLR0917  # one parameter per option: typer reads them off the signature
    protocol: Annotated[str, Argument(help="A TOML file, or the name of a protocol that comes with aczerots.")],
    out: Annotated[Path, Option(help="Output folder; an interrupted experiment goes on there.")],
    data: Annotated[Path | None, Option(help="Folder that {data} in the protocol stands for.")] = None,
    jobs: Annotated[int, Option(help="Runs at the same time, each on one processor core.")] = 1,
    seeds: Annotated[int | None, Option(help="Number of seeds, instead of the protocol's.")] = None,
    strategy: Annotated[list[str] | None, Option(help="Only this strategy; several times.")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="List the runs and the time they take, run none.")] = False,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """A grid of simulated runs: table, figures, page with intervals and paired tests."""
    from aczerots.simulation.experiment.protocol import locate_protocol, narrowed
    from aczerots.simulation.experiment.run import plan_experiment, run_experiment

    wanted = narrowed(locate_protocol(protocol), seeds=seeds, strategies=strategy or ())
    if dry_run:
        plan = plan_experiment(wanted, out, data, jobs)
        if as_json:
            show_json({"runs": [r.settings.model_dump(mode="json") for r in plan.runs], "seconds": plan.seconds})
        else:
            echo("\n".join([*(r.text for r in plan.runs), plan.text]))
        return
    outcome = run_experiment(wanted, out, data=data, jobs=jobs, device=device, progress=ConsoleProgress())
    if as_json:
        failed = [{"run": run.text, "reason": reason} for run, reason in outcome.failures]
        show_json({"written": [str(p) for p in outcome.written], "failed": failed})
    else:
        echo(f"Written: {', '.join(str(p) for p in outcome.written if p.parent == out)}")
    if outcome.failures:
        echo(f"error: {len(outcome.failures)} of {len(outcome.plan.runs)} runs failed", err=True)
        raise Exit(1)
