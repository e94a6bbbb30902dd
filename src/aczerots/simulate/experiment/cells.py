"""The cells of an experiment: one simulated run each, with a folder of its own."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aczerots.config import SimulateSettings, read_settings
from aczerots.errors import SettingsError
from aczerots.simulate.experiment.protocol import Budget, Choice, Grid, Protocol, Source


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        dataset: Short name of the dataset.
        settings: What decides its numbers.
        folder: Run folder below the experiment's.
    """

    dataset: str
    settings: SimulateSettings
    folder: Path

    @property
    def scenario(self) -> tuple[str, ...]:
        """What runs must share to be compared: dataset, unseen classes, budget, start."""
        s = self.settings
        return self.dataset, " + ".join(s.unseen), f"{s.initial:g}", f"{s.budget:g}", str(s.rounds), s.first

    @property
    def text(self) -> str:
        """The cell for a person."""
        s = self.settings
        unseen = " + ".join(s.unseen) or "no class"
        without = f" without {', '.join(s.without)}" if s.without else ""
        return f"{self.dataset}, {unseen} unseen, {s.strategy}{without}, {s.preset}, {s.text}, seed {s.seed}"


def expand(protocol: Protocol, data: Path | None) -> list[Cell]:
    """All cells, each once, those of one dataset and of one seed together.

    Args:
        protocol: The experiment.
        data: What ``{data}`` in a locator stands for.

    Raises:
        SettingsError: A value is out of range, or ``{data}`` is needed and not given.
    """
    found: dict[str, Cell] = {}
    for grid in protocol.grid:
        for source in protocol.datasets:
            if grid.datasets is None or source.name in grid.datasets:
                for cell in _cells(source, grid, data):
                    found.setdefault(cell.settings.model_dump_json(), cell)
    order = {source.name: i for i, source in enumerate(protocol.datasets)}
    rank = {choice.name: i for grid in reversed(protocol.grid) for i, choice in enumerate(grid.strategies)}

    def place(cell: Cell) -> tuple[object, ...]:
        s = cell.settings
        bench = order[cell.dataset], s.backbone, s.tile_size, s.unseen, s.text
        return (*bench, s.seed, s.preset, rank[s.strategy], s.without, s.initial, s.budget, s.first)

    return sorted(found.values(), key=place)


def _cells(source: Source, grid: Grid, data: Path | None) -> Iterator[Cell]:
    """The cells of one dataset in one grid."""
    locator = _resolve(source, data)
    for unseen, choice, preset, text, backbone, budget, seed in itertools.product(
        source.unseen, grid.strategies, grid.presets, grid.texts, grid.backbones, grid.budgets, grid.seeds
    ):
        settings = read_settings(
            **{
                "dataset": locator,
                "unseen": unseen,
                "strategy": choice.name,
                "without": choice.without,
                "preset": preset,
                "text": text,
                "backbone": backbone,
                "seed": seed,
                **budget.model_dump(),
                **grid.options,
            }
        )
        yield Cell(source.name, settings, _folder(source, settings, choice, budget))


def _resolve(source: Source, data: Path | None) -> str:
    """The locator with ``{data}`` replaced."""
    if "{data}" not in source.locator:
        return source.locator
    if data is None:
        raise SettingsError(
            f"the dataset {source.name} lies below a folder that is not known", fix="Name the folder with --data"
        )
    return source.locator.replace("{data}", str(data))


def _folder(source: Source, settings: SimulateSettings, choice: Choice, budget: Budget) -> Path:
    """A readable folder name; the hash keeps runs apart that differ in anything else."""
    # Where the data lie may change between two calls on one experiment; the runs stay the same.
    facts = settings.model_copy(update={"dataset": source.locator, "rounds": 0}).model_dump_json()
    code = hashlib.sha256(facts.encode()).hexdigest()[:8]
    arm = "-".join([choice.name, *(f"no_{t}" for t in choice.without)])
    share = f"{100 * budget.initial:g}+{100 * budget.budget:g}"
    name = f"{arm}-{settings.preset}-{settings.text}-{share}-s{settings.seed}-{code}"
    return Path("runs") / _safe(source.name) / _safe(" + ".join(settings.unseen) or "none") / _safe(name)


def _safe(text: str) -> str:
    """The text as one part of a path."""
    return re.sub(r"[^\w+.-]+", "_", text)[:120]
