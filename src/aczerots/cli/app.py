"""The command line: a thin layer over the Python API."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from aczerots import __version__
from aczerots.cli.annotate_command import annotate
from aczerots.cli.commands import (
    Address,
    Compile,
    Device,
    EngineName,
    Jobs,
    Json,
    PerPatient,
    PerSlide,
    RemoteCode,
    describe,
    doctor,
    embed,
)
from aczerots.cli.console import ConsoleProgress, show_json, show_rows
from aczerots.cli.exchange_commands import EXCHANGE_COMMANDS
from aczerots.cli.project_commands import PROJECT_COMMANDS
from aczerots.errors import AczerotsError, InputError, SettingsError

app = typer.Typer(
    name="aczerots",
    help="Draw a few tiles of the tissue classes you can, describe the others, segment them all.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Unseen = Annotated[list[str] | None, typer.Option(help="A class that has words only; may be given several times.")]
_INTERRUPTED = 130
DEMO = {"dataset": "phantom:40", "unseen": ("necrosis",), "rounds": 4, "initial": 0.05, "budget": 0.1}


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Run the loop on procedural tissue; needs no data and no download."""
    from aczerots.config import read_settings
    from aczerots.simulate.simulate import simulate as run

    rows = run(read_settings(**DEMO, seed=seed), out, progress=ConsoleProgress())
    show_rows([_short(r) for r in rows], "Rounds on the phantom, necrosis unseen")
    typer.echo(f"\nWritten: {out / 'metrics.csv'}, {out / 'report.html'}")
    typer.echo("Next, on your own images (a folder with dataset.yaml, images/ and masks/):")
    typer.echo('  aczerots simulate folder:PATH --unseen "a class nobody draws" --out runs/first')


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the columns per class."""
    return {k: v for k, v in row.items() if not k.startswith("iou:")}


@app.command()
def simulate(  # noqa: PLR0913, PLR0917  # one parameter per option: typer reads them off the signature
    dataset: Annotated[str, typer.Argument(help="folder:PATH, bcss:PATH, voc:PATH, her2st:PATH, phantom:N, ...")],
    out: Annotated[Path, typer.Option(help="Output folder; an interrupted run goes on there.")],
    unseen: Unseen = None,
    strategy: Annotated[str, typer.Option(help="aczerots, paper, random, entropy, coreset, badge, ...")] = "aczerots",
    without: Annotated[list[str] | None, typer.Option(help="Switch off a term of the strategy.")] = None,
    preset: Annotated[str, typer.Option(help="prozs, paper, seen-only or zeroshot.")] = "prozs",
    backbone: Annotated[
        str, typer.Option(help="embedded, or KIND:MODEL with hf, open_clip, conch, keep or musk.")
    ] = "embedded",
    refine_with: Annotated[str | None, typer.Option(help="Vision-only helper: hf:MODEL or timm:MODEL.")] = None,
    precision: Annotated[str, typer.Option(help="Of the backbone on images: fp32, bf16 or fp16.")] = "fp32",
    text: Annotated[str, typer.Option(help="descriptions, names or templates.")] = "descriptions",
    descriptions: Annotated[Path | None, typer.Option(help="File of descriptions, as `describe` writes it.")] = None,
    tile_size: Annotated[int, typer.Option(help="Side of a tile in pixels.")] = 224,
    cache: Annotated[str, typer.Option(help="DenseFeatures on disk: dense, pooled (large pools) or off.")] = "dense",
    rounds: Annotated[int, typer.Option(help="Last round; round 0 is zero-shot.")] = 6,
    initial: Annotated[float, typer.Option(help="Share of the pool drawn for round 1.")] = 0.05,
    first: Annotated[str, typer.Option(help="What chooses the tiles of round 1: random or strategy.")] = "random",
    budget: Annotated[float, typer.Option(help="Share of the pool per later round.")] = 0.15,
    per_slide: PerSlide = None,
    per_patient: PerPatient = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    device: Device = "cpu",
    compiled: Compile = False,
    trust_remote_code: RemoteCode = False,
    full: Annotated[bool, typer.Option("--full", help="Draw the whole pool at once: the full-label model.")] = False,
    as_json: Json = False,
) -> None:
    """Active learning on labelled images with a simulated expert."""
    from aczerots.config import read_settings
    from aczerots.simulate.simulate import simulate as run

    settings = read_settings(
        dataset=dataset,
        unseen=unseen or (),
        strategy="random" if full else strategy,
        without=() if full else without or (),
        preset=preset,
        backbone=backbone,
        refine_with=refine_with,
        precision=precision,
        text=text,
        descriptions=None if descriptions is None else str(descriptions),
        cache=cache,
        tile_size=tile_size,
        rounds=1 if full else rounds,
        initial=1.0 if full else initial,
        first=first,
        budget=budget,
        per_slide=per_slide,
        per_patient=per_patient,
        seed=seed,
    )
    rows = run(
        settings,
        out,
        device=device,
        progress=ConsoleProgress(),
        compiled=compiled,
        trust_remote_code=trust_remote_code,
    )
    if as_json:
        show_json(rows)
    else:
        show_rows(rows, f"{dataset}, strategy {settings.strategy}, preset {preset}, seed {seed}")
        typer.echo(f"Written: {out / 'metrics.csv'}, {out / 'report.html'}")


@app.command()
def experiment(  # noqa: PLR0913, PLR0917  # one parameter per option: typer reads them off the signature
    protocol: Annotated[str, typer.Argument(help="A TOML file, or the name of a protocol that comes with aczerots.")],
    out: Annotated[Path, typer.Option(help="Output folder; an interrupted experiment goes on there.")],
    data: Annotated[Path | None, typer.Option(help="Folder that {data} in the protocol stands for.")] = None,
    jobs: Annotated[int, typer.Option(help="Runs at the same time, each on one processor core.")] = 1,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds, instead of the protocol's.")] = None,
    strategy: Annotated[list[str] | None, typer.Option(help="Only this strategy; may be given several times.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs and the time they take, run none.")] = False,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """A grid of simulated runs: table, figures, page with intervals and paired tests."""
    from aczerots.simulate.experiment.protocol import locate_protocol, narrowed
    from aczerots.simulate.experiment.run import plan_experiment, run_experiment

    wanted = narrowed(locate_protocol(protocol), seeds=seeds, strategies=strategy or ())
    if dry_run:
        plan = plan_experiment(wanted, out, data, jobs)
        if as_json:
            show_json({"runs": [r.settings.model_dump(mode="json") for r in plan.runs], "seconds": plan.seconds})
        else:
            typer.echo("\n".join([*(r.text for r in plan.runs), plan.text]))
        return
    outcome = run_experiment(wanted, out, data=data, jobs=jobs, device=device, progress=ConsoleProgress())
    if as_json:
        failed = [{"run": run.text, "reason": reason} for run, reason in outcome.failures]
        show_json({"written": [str(p) for p in outcome.written], "failed": failed})
    else:
        typer.echo(f"Written: {', '.join(str(p) for p in outcome.written if p.parent == out)}")
    if outcome.failures:
        typer.echo(f"error: {len(outcome.failures)} of {len(outcome.plan.runs)} runs failed", err=True)
        raise typer.Exit(1)


@app.command()
def predict(  # noqa: PLR0913, PLR0917  # one parameter per option: typer reads them off the signature
    model: Annotated[str, typer.Argument(help="model.safetensors of a run, or a project folder.")],
    slides: Annotated[list[str], typer.Argument(help="Whole slides or plain images to segment, paths or URLs.")],
    out: Annotated[str, typer.Option(help="Output folder or URL (s3://...); interrupted work goes on there.")],
    mpp: Annotated[float | None, typer.Option(help="Micrometres per pixel of files that state none.")] = None,
    add_class: Annotated[
        list[str] | None, typer.Option(help="A further class by words: 'name' or 'name: description'.")
    ] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Write class probabilities too.")] = False,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="Label glass too, not only tissue.")] = False,
    overlap: Annotated[
        float | None, typer.Option(help="Share that a window has in common with the next; default by backbone.")
    ] = None,
    part: Annotated[str | None, typer.Option(help="Only the i-th of n parts of the slides: i/n.")] = None,
    engine: EngineName = "local",
    address: Address = None,
    jobs: Jobs = None,
    device: Device = "cpu",
    compiled: Compile = False,
    trust_remote_code: RemoteCode = False,
    as_json: Json = False,
) -> None:
    """Segment slides: label pyramids or masks, polygons, areas, overlays."""
    from aczerots.engine.locate import locate_engine
    from aczerots.predict.slide_map import MapOptions
    from aczerots.predict.slides import predict_slides, read_part
    from aczerots.project.folder import is_project, newest_model

    if overlap is not None and not 0 <= overlap <= 0.75:
        raise SettingsError(f"an overlap of {overlap:g} is out of range", where="--overlap", fix="Use 0 to 0.75")
    running: dict[str, Any] = {"compiled": compiled, "trust_remote_code": trust_remote_code}
    running |= {"engine": locate_engine(engine, address=address, workers=jobs, device=device)}
    running |= {"part": None if part is None else read_part(part)}
    options = MapOptions(probabilities, everywhere, overlap)
    words = add_class or ()
    rows, failures = predict_slides(
        newest_model(Path(model)) if is_project(model) else model,
        slides,
        out,
        mpp=mpp,
        add_classes=words,
        options=options,
        progress=ConsoleProgress(),
        **running,
    )
    if as_json:
        show_json(rows)
    elif rows:
        show_rows(rows, f"Area share per class; the maps and areas.csv are in {out}")
        typer.echo("Next: look at the overlays there, or open an image in QuPath and drag its GeoJSON onto it")
    for failure in failures:
        typer.echo(f"error: {failure}", err=True)
    if failures:
        raise typer.Exit(1)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="model.safetensors of a run, or a project folder.")],
    dataset: Annotated[
        str | None, typer.Argument(help="Dataset whose test part is measured; a project can do without.")
    ] = None,
    device: Device = "cpu",
    compiled: Compile = False,
    trust_remote_code: RemoteCode = False,
    as_json: Json = False,
) -> None:
    """Measure a model on the test part of a dataset, or the newest round of a project on tiles left out of fits."""
    from aczerots.project.bench import Running
    from aczerots.project.folder import is_project, newest_model, open_project
    from aczerots.project.rounds import measure_round
    from aczerots.project.status import next_step
    from aczerots.simulate.evaluation import evaluate_model

    following = None
    if dataset is not None:
        running: dict[str, Any] = {"device": device, "compiled": compiled, "trust_remote_code": trust_remote_code}
        row: dict[str, Any] = dict(evaluate_model(newest_model(model), dataset, progress=ConsoleProgress(), **running))
    elif is_project(str(model)):
        with open_project(model) as project:
            row = measure_round(project, Running(device, compiled, trust_remote_code, ConsoleProgress()))
            following = next_step(project)
    else:
        raise SettingsError("there is nothing to measure on", fix="Name a dataset: aczerots evaluate MODEL DATASET")
    if as_json:
        show_json(row)
    else:
        title = f"{model} on {dataset or 'drawn tiles that were left out'}"
        show_rows([{"measure": name.replace("_", " "), "value": value} for name, value in row.items()], title)
    if following is not None and not as_json:
        typer.echo(f"Next: {following}; or look at the report: aczerots report {model}")


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Output folders of runs, or one project folder.")],
    out: Annotated[
        Path | None, typer.Option(help="HTML file to write; default comparison.html, or report.html in the project.")
    ] = None,
) -> None:
    """Draw several runs into one comparison, or a project into a report of its rounds."""
    from aczerots.project.folder import is_project, open_project
    from aczerots.project.report import write_project_report
    from aczerots.project.status import next_step
    from aczerots.report import write_report

    projects = [path for path in runs if is_project(str(path))]
    if projects and len(runs) > 1:
        raise SettingsError("a project has a report of its own", where=projects[0], fix="Name it alone")
    if projects:
        target = out or projects[0] / "report.html"
        with open_project(projects[0]) as project:
            write_project_report(project, target)
            following = f"open it in a browser; then {next_step(project)}"
    else:
        target = out or Path("comparison.html")
        write_report(runs, target)
        following = "open it in a browser"
    typer.echo(f"Written: {target}")
    typer.echo(f"Next: {following}")


for _command in (embed, describe, doctor, annotate):
    app.command()(_command)
for _name, _command in (PROJECT_COMMANDS | EXCHANGE_COMMANDS).items():
    app.command(_name)(_command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


class _Stop:
    """Handler of Ctrl-C and of a polite kill: ends the work, wherever it is, and remembers that it did.

    It raises no KeyboardInterrupt: if one passes through ``exec``, as in many imports, Python kills itself at the end
    whatever the exit code.
    """

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: object) -> None:
        """Interrupt what is running."""
        del number, frame
        self.asked = True
        raise SystemExit(_INTERRUPTED)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Exit code 0 only if all of it worked; deliberate errors are one line."""
    stop = _Stop()
    # A shell makes what it runs in the background ignore Ctrl-C, and that stays so.
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = {n: signal.signal(n, stop) for n in kinds if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        code, message = _run(arguments)
    except BaseException:
        if not stop.asked:
            raise
        code, message = _INTERRUPTED, ""
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stop.asked and code:
        # An interrupt that meets a library at a bad moment comes out of it as some other error.
        code, message = _INTERRUPTED, "stopped; what was saved stays, and the same command goes on from there"
    if message:
        sys.stderr.write(f"error: {message}\n")
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> tuple[int, str]:
    """Exit code and what to say about it."""
    try:
        return app(args=list(arguments) if arguments is not None else None, standalone_mode=False) or 0, ""
    except AczerotsError as error:
        return 1, str(error)
    except OSError as error:
        return 1, str(InputError(error.strerror or "input/output error", where=error.filename))
    except TyperException as error:
        return 2, error.format_message()


if __name__ == "__main__":
    main()
