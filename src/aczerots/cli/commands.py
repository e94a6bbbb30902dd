"""Commands around the loop: fill the cache, describe classes, look at the installation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aczerots.cli.console import ConsoleProgress, show_checks, show_json
from aczerots.errors import SettingsError

Device = Annotated[str, typer.Option(help="Where to compute: cpu, auto, cuda, cuda:1, mps.")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the backbone: slow start, then faster.")]
RemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let the backbone's repository run Python code it brings along.")
]
PerSlide = Annotated[int | None, typer.Option(min=1, help="Tiles of one slide at most, per round.")]
PerPatient = Annotated[int | None, typer.Option(min=1, help="Tiles of one patient at most, per round.")]
EngineName = Annotated[str, typer.Option("--engine", help="Where the work runs: local or ray.")]
Address = Annotated[
    str | None, typer.Option(help="Of the Ray cluster: auto, HOST:PORT, ray://HOST:PORT; default starts one here.")
]
Jobs = Annotated[int | None, typer.Option(help="Workers; default one per GPU, one on a CPU, all places of a cluster.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def embed(  # noqa: PLR0913, PLR0917  # one parameter per option: typer reads them off the signature
    dataset: Annotated[str, typer.Argument(help="Dataset or project folder whose tiles are embedded.")],
    backbone: Annotated[
        str, typer.Option(help="embedded, or KIND:MODEL with hf, open_clip, conch, keep or musk.")
    ] = "embedded",
    tile_size: Annotated[int, typer.Option(help="Side of a tile in pixels.")] = 224,
    cache: Annotated[str, typer.Option(help="dense, or pooled (coarse grids of the pool).")] = "dense",
    refine_with: Annotated[str | None, typer.Option(help="Vision-only helper: hf:MODEL or timm:MODEL.")] = None,
    precision: Annotated[str, typer.Option(help="Of the backbone on images: fp32, bf16 or fp16.")] = "fp32",
    engine: EngineName = "local",
    address: Address = None,
    jobs: Jobs = None,
    device: Device = "cpu",
    compiled: Compile = False,
    trust_remote_code: RemoteCode = False,
    as_json: Json = False,
) -> None:
    """Fill the cache with the grids of a dataset, or of a project as its settings say; go on after an interrupt."""
    from aczerots.config import read_settings
    from aczerots.engine.locate import locate_engine
    from aczerots.loop.embed import embed_dataset
    from aczerots.project.embed import embed_project
    from aczerots.project.folder import is_project, open_project
    from aczerots.project.status import next_step
    from aczerots.storage.machine import size_text

    running: dict[str, Any] = {"device": device, "compiled": compiled, "trust_remote_code": trust_remote_code}
    running["engine"] = locate_engine(engine, address=address, workers=jobs, device=device)
    if is_project(dataset):
        if (backbone, tile_size, cache, refine_with, precision) != ("embedded", 224, "dense", None, "fp32"):
            raise SettingsError("backbone, tile size and precision of a project stand in its project.yaml")
        done = embed_project(Path(dataset), progress=ConsoleProgress(), **running)
        with open_project(Path(dataset)) as project:
            following = next_step(project)
    else:
        settings = read_settings(
            dataset=dataset,
            backbone=backbone,
            refine_with=refine_with,
            precision=precision,
            tile_size=tile_size,
            cache=cache,
        )
        done = embed_dataset(settings, progress=ConsoleProgress(), **running)
        following = None
    if as_json:
        show_json({"tiles": done.tiles, "computed": done.computed, "bytes": done.size, "folder": str(done.folder)})
        return
    what = f"Computed {done.computed} tiles" if done.computed else "Nothing to do"
    typer.echo(f"{what}: the grids of all {done.tiles} tiles ({size_text(done.size)}) are in {done.folder}")
    if following is not None:
        typer.echo(f"Next: {following}")


def describe(  # noqa: PLR0913, PLR0917  # one parameter per option: typer reads them off the signature
    classes: Annotated[list[str], typer.Argument(help="Names of tissue classes.")],
    out: Annotated[Path | None, typer.Option(help="YAML file to write, for --descriptions of simulate.")] = None,
    base_url: Annotated[str | None, typer.Option(help="OpenAI-compatible server; default $OPENAI_BASE_URL.")] = None,
    model: Annotated[str | None, typer.Option(help="Language model; default $ACZEROTS_LLM_MODEL.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 120.0,
    new: Annotated[bool, typer.Option("--new", help="Ask the model even for classes of the bundle.")] = False,
    show_prompt: Annotated[bool, typer.Option("--show-prompt", help="Show what would be sent, send nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Sentences on how classes look: from the bundle, else written by a language model. Sends no image."""
    from aczerots.text.describe import as_yaml, describe_all, messages_for

    if show_prompt:
        for name in classes:
            typer.echo("\n\n".join(f"[{m['role']}]\n{m['content']}" for m in messages_for(name)))
        return
    described = describe_all(
        classes, url=base_url, model=model, timeout=timeout, bundle=not new, out=out, progress=ConsoleProgress()
    )
    if as_json:
        show_json([{"name": d.name, "descriptions": d.sentences, "origin": d.origin} for d in described])
    elif out is None:
        typer.echo(as_yaml(described), nl=False)
    else:
        typer.echo(f"Written: {out}")


def doctor(
    timeout: Annotated[float, typer.Option(help="Seconds for all questions to the hub together.")] = 3.0,
    as_json: Json = False,
) -> None:
    """Look at machine, installation, hub and cache, and say what to do. Works offline."""
    from dataclasses import asdict

    from aczerots.cli.doctor import examine

    checks = examine(timeout)
    if as_json:
        show_json([asdict(c) for c in checks])
    else:
        show_checks(checks)
    if any(c.status == "broken" for c in checks):
        raise typer.Exit(1)
