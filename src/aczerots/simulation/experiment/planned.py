"""The runs of an experiment: every combination that its protocol names, each with a folder of its own."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aczerots.config import SimulateSettings
from aczerots.errors import SettingsError
from aczerots.simulation.experiment.protocol import Budget, DatasetChoice, Grid, Protocol, StrategyChoice


@dataclass(frozen=True)
class PlannedRun:
    """One simulated run.

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
        """What runs must have in common to be compared: dataset, unseen classes, budget, start."""
        s = self.settings
        return self.dataset, " + ".join(s.unseen), f"{s.initial:g}", f"{s.budget:g}", str(s.rounds), s.first

    @property
    def unseen(self) -> str:
        """Its unseen classes for a person."""
        return f"{' + '.join(self.settings.unseen) or 'no class'} unseen"

    @property
    def text(self) -> str:
        """The run for a person."""
        s = self.settings
        without = f" without {', '.join(s.without)}" if s.without else ""
        return f"{self.dataset}, {self.unseen}, {s.strategy}{without}, {s.preset}, {s.text}, seed {s.seed}"


def plan_runs(protocol: Protocol, data: Path | None) -> list[PlannedRun]:
    """All runs, each once, those of one dataset and of one seed together.

    Args:
        protocol: The experiment.
        data: What ``{data}`` in a locator stands for.

    Raises:
        SettingsError: A value is out of range, or ``{data}`` is needed and not given.
    """
    found: dict[str, PlannedRun] = {}
    for grid in protocol.grid:
        for dataset in protocol.datasets:
            if grid.datasets is None or dataset.name in grid.datasets:
                for run in _combinations(dataset, grid, data):
                    found.setdefault(run.settings.model_dump_json(), run)
    order = {dataset.name: i for i, dataset in enumerate(protocol.datasets)}
    rank = {choice.name: i for grid in reversed(protocol.grid) for i, choice in enumerate(grid.strategies)}

    def place(run: PlannedRun) -> tuple[object, ...]:
        s = run.settings
        shared = order[run.dataset], s.backbone, s.tile_size, s.unseen, s.text
        return (*shared, s.seed, s.preset, rank[s.strategy], s.without, s.initial, s.budget, s.first)

    return sorted(found.values(), key=place)


def _combinations(dataset: DatasetChoice, grid: Grid, data: Path | None) -> Iterator[PlannedRun]:
    """The runs of one dataset in one grid."""
    locator = dataset.locator
    if "{data}" in locator and data is None:
        what = f"the dataset {dataset.name} lies below a folder that is not known"
        raise SettingsError(what, fix="Name the folder with --data")
    chosen = {"dataset": locator.replace("{data}", str(data)), **grid.options}
    for unseen, choice, preset, text, backbone, budget, seed in itertools.product(
        dataset.unseen, grid.strategies, grid.presets, grid.texts, grid.backbones, grid.budgets, grid.seeds
    ):
        varied = {"unseen": unseen, "preset": preset, "text": text, "backbone": backbone, "seed": seed}
        varied |= {"strategy": choice.name, "without": choice.without, **budget.model_dump()}
        settings = SimulateSettings(**varied | chosen)
        yield PlannedRun(dataset.name, settings, _folder(dataset, settings, choice, budget))


def _folder(dataset: DatasetChoice, settings: SimulateSettings, choice: StrategyChoice, budget: Budget) -> Path:
    """A readable folder name; the hash keeps runs apart that differ in anything else."""
    # Where the data lie may change between two calls on one experiment; the runs stay the same.
    facts = settings.model_copy(update={"dataset": dataset.locator, "rounds": 0}).model_dump_json()
    code = hashlib.sha256(facts.encode()).hexdigest()[:8]
    strategy = "-".join([choice.name, *(f"no_{t}" for t in choice.without)])
    fractions = f"{100 * budget.initial:g}+{100 * budget.budget:g}"
    name = f"{strategy}-{settings.preset}-{settings.text}-{fractions}-s{settings.seed}-{code}"
    return Path("runs") / _safe(dataset.name) / _safe(" + ".join(settings.unseen) or "none") / _safe(name)


def _safe(text: str) -> str:
    """The text as one part of a path."""
    return re.sub(r"[^\w+.-]+", "_", text)[:120]
