"""What an experiment runs, read from a TOML file and checked before anything starts."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from aczerots.config import First, TextMode
from aczerots.errors import AczerotsError, InputError, SettingsError
from aczerots.prozs.presets import locate_preset
from aczerots.selection.locate import locate_strategy


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatasetChoice(_Section):
    """A dataset of an experiment.

    Attributes:
        name: Short name for tables and folders.
        locator: Dataset locator; ``{data}`` stands for the folder given by ``--data``.
        unseen: Sets of unseen classes, each one is run.
    """

    name: str = Field(min_length=1)
    locator: str
    unseen: tuple[tuple[str, ...], ...] = Field(((),), min_length=1)


class StrategyChoice(_Section):
    """A strategy with the terms that are switched off."""

    name: str
    without: tuple[str, ...] = ()


class Budget(_Section):
    """Fractions of the pool for round 1 and for each later round; the last round; what chooses the tiles of round 1."""

    initial: float = Field(0.05, gt=0, le=1)
    budget: float = Field(0.05, gt=0, le=1)
    rounds: int = Field(6, ge=0)
    first: First = "random"


def _as_choice(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _as_seeds(value: object) -> object:
    return tuple(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value


class Grid(_Section):
    """Everything here is combined with everything else.

    Attributes:
        datasets: Names of datasets; None takes all of the experiment.
        strategies: Names, or tables with ``name`` and ``without``.
        presets: Names of presets.
        texts: Text modes.
        backbones: Backbone locators.
        budgets: Fractions of the pool and number of rounds.
        seeds: How many (from 0), or which.
        options: Further settings of ``simulate`` that stay the same, for example ``tile_size``.
    """

    datasets: tuple[str, ...] | None = None
    strategies: tuple[Annotated[StrategyChoice, BeforeValidator(_as_choice)], ...] = Field(min_length=1)
    presets: tuple[str, ...] = Field(("prozs",), min_length=1)
    texts: tuple[TextMode, ...] = Field(("descriptions",), min_length=1)
    backbones: tuple[str, ...] = Field(("embedded",), min_length=1)
    budgets: tuple[Budget, ...] = Field((Budget(),), min_length=1)
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_as_seeds)] = Field(
        tuple(range(5)), min_length=1
    )
    options: dict[str, JsonValue] = {}


class Protocol(_Section):
    """An experiment.

    Attributes:
        name: Short name.
        title: One line for the page.
        notes: What a reader should know: where it follows a paper, where it differs.
        reference: Strategy that differences are taken to.
        datasets: The datasets.
        grid: Combinations, each multiplied out on its own; equal runs are made once.
    """

    name: str = Field(min_length=1)
    title: str
    notes: str = ""
    reference: str = "random"
    datasets: tuple[DatasetChoice, ...] = Field(min_length=1)
    grid: tuple[Grid, ...] = Field(min_length=1)


_PACKAGED = resources.files("aczerots.simulation.experiment") / "protocols"


def packaged_protocols() -> tuple[str, ...]:
    """Names of the protocols that come with the package."""
    return tuple(sorted(f.name.removesuffix(".toml") for f in _PACKAGED.iterdir() if f.name.endswith(".toml")))


def locate_protocol(name: str) -> Protocol:
    """The packaged protocol of that name, or the one in a TOML file.

    Raises:
        InputError: The file is missing, no TOML, or a key is wrong; names file and key.
        SettingsError: Neither a packaged name nor a file.
    """
    if name in packaged_protocols():
        return parse_protocol((_PACKAGED / f"{name}.toml").read_text(encoding="utf-8"), f"{name}.toml")
    path = Path(name)
    if path.suffix != ".toml":
        fix = f"Give a .toml file or one of: {', '.join(packaged_protocols())}"
        raise SettingsError(f"'{name}' is no protocol", fix=fix)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read it: {error}", where=path) from error
    return parse_protocol(text, str(path))


def parse_protocol(text: str, where: str) -> Protocol:
    """A protocol from TOML; values of the table ``common`` hold in every grid that has no own.

    Raises:
        InputError: No TOML, or a key is wrong.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not TOML: {error}", where=where) from error
    common, grids = content.pop("common", {}), content.pop("grid", [{}])
    if not isinstance(common, dict):
        raise InputError("common: must be a table", where=where)
    if not isinstance(grids, list) or not all(isinstance(g, dict) for g in grids):
        raise InputError("grid: must be tables, each headed [[grid]]", where=where)
    try:
        protocol = Protocol.model_validate({**content, "grid": [{**common, **g} for g in grids]})
    except ValidationError as error:
        first = error.errors()[0]
        key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"]).removeprefix(".")
        raise InputError(f"{key or 'the whole'}: {first['msg'].lower()}", where=where) from error
    _check_names(protocol, where)
    return protocol


def _check_names(protocol: Protocol, where: str) -> None:
    """Names of datasets, strategies, terms and presets must exist."""
    names = [dataset.name for dataset in protocol.datasets]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"datasets: two are called '{name}'", where=where)
    for number, grid in enumerate(protocol.grid):
        for name in grid.datasets or ():
            if name not in names:
                what = f"grid[{number}].datasets: no dataset '{name}'"
                raise InputError(what, where=where, fix=f"There are: {', '.join(names)}")
        try:
            for preset in grid.presets:
                locate_preset(preset)
            for choice in grid.strategies:
                locate_strategy(choice.name, choice.without)
        except AczerotsError as error:
            raise InputError(f"grid[{number}]: {error.what}", where=where, fix=error.fix) from error


def narrowed(protocol: Protocol, *, seeds: int | None = None, strategies: Sequence[str] = ()) -> Protocol:
    """The protocol with another number of seeds, or with some of its strategies only.

    Args:
        protocol: The experiment.
        seeds: How many, from 0; None keeps its own.
        strategies: Names; none keeps all.

    Raises:
        SettingsError: A number of seeds below 1, or a strategy that the protocol does not have.
    """
    if seeds is not None and seeds < 1:
        raise SettingsError(f"{seeds} seeds", where="--seeds", fix="Ask for at least one")
    known = list(dict.fromkeys(c.name for g in protocol.grid for c in g.strategies))
    for name in strategies:
        if name not in known:
            fix = f"It has: {', '.join(known)}"
            raise SettingsError(f"the protocol has no strategy '{name}'", where="--strategy", fix=fix)
    grids = []
    for grid in protocol.grid:
        kept = tuple(c for c in grid.strategies if not strategies or c.name in strategies)
        if kept:
            which = grid.seeds if seeds is None else tuple(range(seeds))
            grids.append(grid.model_copy(update={"strategies": kept, "seeds": which}))
    return protocol.model_copy(update={"grid": tuple(grids)})
