"""The options that several commands share, each written once, and how groups of them become options of a command."""

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from aczerots.cli.console import ConsoleProgress

if TYPE_CHECKING:
    from aczerots.engine.base import Engine
    from aczerots.project.running import Running

Device = Annotated[str, Option(help="Where to compute: cpu, auto, cuda, cuda:1, mps.")]
Compile = Annotated[bool, Option("--compile", help="Compile the backbone: slow start, then faster.")]
RemoteCode = Annotated[
    bool, Option("--trust-remote-code", help="Let the backbone's repository run its own Python code.")
]
Json = Annotated[bool, Option("--json", help="Print JSON instead of a table.")]
Seed = Annotated[int, Option(help="Seed of everything random.")]
ProjectFolder = Annotated[Path, Argument(help="Project folder.")]
Author = Annotated[str | None, Option(help="Who drew; default is the name you are logged in with.")]


@dataclass(frozen=True)
class Computing:
    """How to compute; decides no numbers."""

    device: Device = "cpu"
    compiled: Compile = False
    trust_remote_code: RemoteCode = False

    def running(self) -> "Running":
        """The same for the functions of a project, with progress on the console."""
        from aczerots.project.running import Running

        return Running(**asdict(self), progress=ConsoleProgress())


@dataclass(frozen=True)
class Workers:
    """Where the work on many tiles or slides runs."""

    engine: Annotated[str, Option(help="Where the work runs: local or ray.")] = "local"
    address: Annotated[str | None, Option(help="Ray cluster: auto, HOST:PORT, ray://...; default starts one.")] = None
    jobs: Annotated[int | None, Option(help="Workers; default one per GPU, one on a CPU, a whole cluster.")] = None

    def open(self, device: str) -> "Engine":
        """The engine with these workers."""
        from aczerots.engine.locate import locate_engine

        return locate_engine(self.engine, address=self.address, workers=self.jobs, device=device)


@dataclass(frozen=True)
class Embedding:
    """What decides the dense features of tiles."""

    backbone: Annotated[str, Option(help="embedded, or hf:, open_clip:, conch:, keep: or musk:MODEL.")] = "embedded"
    refine_with: Annotated[str | None, Option(help="Vision-only helper: hf:MODEL or timm:MODEL.")] = None
    precision: Annotated[str, Option(help="Of the backbone on images: fp32, bf16 or fp16.")] = "fp32"
    tile_size: Annotated[int, Option(help="Side of a tile in pixels.")] = 224


@dataclass(frozen=True)
class Limits:
    """How many tiles of one slide or patient a round may ask for."""

    per_slide: Annotated[int | None, Option(min=1, help="Tiles of one slide at most, per round.")] = None
    per_patient: Annotated[int | None, Option(min=1, help="Tiles of one patient at most, per round.")] = None


@dataclass(frozen=True)
class Learning:
    """What decides the model and the choice of tiles."""

    text: Annotated[str, Option(help="What stands for a class: descriptions, names or templates.")] = "descriptions"
    preset: Annotated[str, Option(help="Model: prozs, paper, seen-only or zeroshot.")] = "prozs"
    strategy: Annotated[str, Option(help="Chooses tiles: aczerots, paper, random, entropy, coreset, ...")] = "aczerots"
    seed: Seed = 0


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer reads it: a parameter that is a group of options becomes a parameter per option."""
    declared = inspect.signature(command, eval_str=True).parameters.values()
    groups: dict[str, Any] = {p.name: p.annotation for p in declared if is_dataclass(p.annotation)}
    options = [p for p in declared if p.name not in groups]
    options += [p for group in groups.values() for p in inspect.signature(group).parameters.values()]

    def run(**given: Any) -> None:
        made = {
            name: group(**{option.name: given.pop(option.name) for option in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **made)

    # Keywords, because options with and without a default alternate.
    flat = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {option.name: option.annotation for option in flat}
    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]  # functions may have one
    return run
