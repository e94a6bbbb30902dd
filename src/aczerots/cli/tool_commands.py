"""Commands around the loop: fill the cache, describe classes, look at the installation."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Argument, Exit, Option, echo

import aczerots as az
from aczerots.cli.console import ConsoleProgress, show_checks, show_json
from aczerots.cli.options import Computing, Embedding, Json, Workers
from aczerots.errors import SettingsError


def embed(
    dataset: Annotated[str, Argument(help="Dataset or project folder whose tiles are embedded.")],
    embedding: Embedding,
    workers: Workers,
    computing: Computing,
    cache: Annotated[str, Option(help="dense, or pooled (coarse features of the pool).")] = "dense",
    as_json: Json = False,
) -> None:
    """Fill the cache with the dense features of a dataset or project; go on after an interrupt."""
    from aczerots.loop.embed import embed_dataset
    from aczerots.project.embed import embed_project
    from aczerots.project.folder import is_project
    from aczerots.storage.machine import size_text

    running = {**asdict(computing), "engine": workers.open(computing.device), "progress": ConsoleProgress()}
    following = None
    if is_project(dataset):
        if (embedding, cache) != (Embedding(), "dense"):
            raise SettingsError("backbone, tile size and precision of a project stand in its project.yaml")
        done = embed_project(Path(dataset), **running)
        with az.open_project(Path(dataset)) as project:
            following = project.next_step()
    else:
        done = embed_dataset(az.SimulateSettings(dataset=dataset, cache=cache, **asdict(embedding)), **running)
    if as_json:
        show_json({"tiles": done.tiles, "computed": done.computed, "bytes": done.size, "folder": str(done.folder)})
        return
    what = f"Computed {done.computed} tiles" if done.computed else "Nothing to do"
    echo(f"{what}: the dense features of all {done.tiles} tiles ({size_text(done.size)}) are in {done.folder}")
    if following is not None:
        echo(f"Next: {following}")


def describe(  # noqa: PLR0913, PLR0917  # one parameter per option: typer reads them off the signature
    classes: Annotated[list[str], Argument(help="Names of tissue classes.")],
    out: Annotated[Path | None, Option(help="YAML file to write, for --descriptions of simulate.")] = None,
    base_url: Annotated[str | None, Option(help="OpenAI-compatible server; default $OPENAI_BASE_URL.")] = None,
    model: Annotated[str | None, Option(help="Language model; default $ACZEROTS_LLM_MODEL.")] = None,
    timeout: Annotated[float, Option(help="Seconds to wait for an answer.")] = 120.0,
    new: Annotated[bool, Option("--new", help="Ask the model even for classes of the bundle.")] = False,
    show_prompt: Annotated[bool, Option("--show-prompt", help="Show what would be sent, send nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Sentences on how classes look: from the bundle, else written by a language model. Sends no image."""
    from aczerots.text.describe import as_yaml, describe_all, messages_for

    if show_prompt:
        for name in classes:
            echo("\n\n".join(f"[{m['role']}]\n{m['content']}" for m in messages_for(name)))
        return
    described = describe_all(
        classes, url=base_url, model=model, timeout=timeout, bundle=not new, out=out, progress=ConsoleProgress()
    )
    if as_json:
        show_json([{"name": d.name, "descriptions": d.sentences, "origin": d.origin} for d in described])
    elif out is None:
        echo(as_yaml(described), nl=False)
    else:
        echo(f"Written: {out}")


def doctor(
    timeout: Annotated[float, Option(help="Seconds for all questions to the hub together.")] = 3.0,
    as_json: Json = False,
) -> None:
    """Look at machine, installation, hub and cache, and say what to do. Works offline."""
    from aczerots.cli.doctor import examine

    checks = examine(timeout)
    if as_json:
        show_json([asdict(c) for c in checks])
    else:
        show_checks(checks)
    if any(c.status == "broken" for c in checks):
        raise Exit(1)
