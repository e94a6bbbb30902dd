"""Statistics of an experiment: areas, paired differences, label efficiency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aczerots.report.compare import Curve, Estimate, SeedGroup, area_under_curve, estimate, mean_defined, paired_test
from aczerots.simulation.experiment.table import FinishedRun

GOAL = 0.97
"""Fraction of the full-label hIoU that label efficiency asks for."""

_SAME = frozenset({"dataset", "unseen", "initial", "budget", "rounds", "first", "seed", "strategy", "without"})
"""Settings that a label need not tell: equal in a scenario, repetitions, or named first."""


@dataclass(frozen=True)
class Arm:
    """Runs that differ only in seed, against the reference of their scenario.

    Attributes:
        group: The runs with their label.
        strategy: Name of the strategy.
        curve: Mean hIoU over the labelled fraction, with bands.
        difference: Area minus the reference's, paired by seed; None for the reference itself.
        p: Two-sided p of the paired t-test of ``difference``.
        fraction: Labelled fraction at which the mean hIoU reaches GOAL of the full-label hIoU; None if it does not.
        ratio: That fraction over the one at which the reference reaches the same hIoU.
    """

    group: SeedGroup
    strategy: str
    curve: Curve
    difference: Estimate | None
    p: float | None
    fraction: float | None
    ratio: float | None

    @property
    def rank(self) -> float:
        """Sorts the largest area first."""
        return float("inf") if self.group.area is None else -self.group.area.mean

    @property
    def areas(self) -> dict[int, float]:
        """Area under the curve by seed."""
        return {r.record.seed: area for r in self.group.runs if (area := area_under_curve(r)) is not None}


@dataclass(frozen=True)
class Scenario:
    """Arms that can be compared: one dataset, one set of unseen classes, one budget."""

    dataset: str
    unseen: str
    budget: str
    reference: str
    arms: tuple[Arm, ...]

    def arm(self, label: str) -> Arm | None:
        """The arm of that label."""
        return next((arm for arm in self.arms if arm.group.label == label), None)


@dataclass(frozen=True)
class Overall:
    """An arm over all sets of unseen classes of a dataset, or of all datasets: means per seed, then over seeds.

    ``fractions`` are those of :class:`Arm`, one per set; None where the goal is not reached.
    """

    dataset: str
    label: str
    scenarios: int
    area: Estimate
    difference: Estimate | None
    p: float | None
    fractions: tuple[float | None, ...]

    @property
    def reached(self) -> int:
        """Sets in which the goal is reached."""
        return sum(fraction is not None for fraction in self.fractions)

    @property
    def fraction(self) -> float | None:
        """Mean labelled fraction in the sets in which the goal is reached."""
        return mean_defined(self.fractions)


def crossing(fractions: Sequence[float], scores: Sequence[float | None], goal: float | None) -> float | None:
    """The smallest fraction at which a curve reaches a goal, by linear interpolation; None if it never does.

    Args:
        fractions: Ascending.
        scores: Score at each fraction; undefined ones are left out.
        goal: The score asked for; None is never reached.
    """
    points = [(x, y) for x, y in zip(fractions, scores, strict=True) if y is not None]
    for i, (x, y) in enumerate(points):
        if goal is not None and y >= goal:
            if i == 0:
                return x
            before, low = points[i - 1]
            return before + (x - before) * (goal - low) / (y - low)
    return None


def label_of(done: FinishedRun, peers: Sequence[FinishedRun]) -> str:
    """Strategy with what is switched off, and what else is not the same in all peers."""
    s = done.planned.settings
    parts = [s.strategy + "".join(f" \N{MINUS SIGN} {t}" for t in s.without)]
    for name, value in s:
        if name not in _SAME and len({repr(getattr(p.planned.settings, name)) for p in peers}) > 1:
            parts.append(value if isinstance(value, str) else f"{name} {value}")
    return " · ".join(parts)


def summarise(done: Sequence[FinishedRun], reference: str) -> list[Scenario]:
    """All scenarios in the order of their first run.

    Args:
        done: Finished runs.
        reference: Strategy that differences are taken to; the first arm where it was not run.
    """
    scenarios: dict[tuple[str, ...], list[FinishedRun]] = {}
    for d in done:
        scenarios.setdefault(d.planned.scenario, []).append(d)
    return [_scenario(key, members, reference) for key, members in scenarios.items()]


def _scenario(key: tuple[str, ...], members: Sequence[FinishedRun], reference: str) -> Scenario:
    """One scenario; with several presets or texts the reference is that of the first."""
    by_label: dict[str, list[FinishedRun]] = {}
    for d in members:
        by_label.setdefault(label_of(d, members), []).append(d)
    groups = []
    for label, part in by_label.items():
        runs = sorted(part, key=lambda d: d.planned.settings.seed)
        groups.append((SeedGroup(label, tuple(d.run for d in runs)), part[0].planned.settings.strategy))
    base = next((group for group, strategy in groups if strategy == reference), groups[0][0])
    dataset, unseen, initial, budget, rounds, first = key
    text = f"{100 * float(initial):g} % + {100 * float(budget):g} %, {rounds} rounds"
    text += "" if first == "random" else ", the strategy chooses from the start"
    arms = tuple(_arm(group, strategy, base) for group, strategy in groups)
    return Scenario(dataset, unseen, text, base.label, arms)


def _arm(group: SeedGroup, strategy: str, base: SeedGroup) -> Arm:
    """Numbers of one arm."""
    curve, other = replace(group.curve(), label=group.label), base.curve()
    goal = None if group.full is None else GOAL * group.full
    fraction, theirs = (crossing(c.fraction, c.score, goal) for c in (curve, other))
    gaps = [] if group is base else group.differences(base, area_under_curve)
    return Arm(
        group=group,
        strategy=strategy,
        curve=curve,
        difference=estimate(gaps),
        p=paired_test(gaps),
        fraction=fraction,
        ratio=fraction / theirs if fraction is not None and theirs else None,
    )


def overall(scenarios: Sequence[Scenario]) -> list[Overall]:
    """Arms over what each dataset and budget has in unseen sets, if several, and then over all datasets.

    Datasets weigh the same there, whatever the number of their sets; not if one of them has several budgets, which
    are no repetitions. Best area first; seeds that an arm lacks somewhere are left out.
    """
    parts: dict[tuple[str, str], list[Scenario]] = {}
    for s in scenarios:
        parts.setdefault((s.dataset, s.budget), []).append(s)
    budgets = Counter(dataset for dataset, _ in parts)
    result = []
    for (dataset, budget), mine in parts.items():
        if len(mine) > 1:
            result += _over(f"{dataset}, {budget}" if budgets[dataset] > 1 else dataset, [mine])
    if len(parts) == len(budgets) > 1:
        result += _over(f"mean of {len(budgets)} datasets", list(parts.values()))
    return result


def _over(name: str, parts: Sequence[Sequence[Scenario]]) -> list[Overall]:
    """Arms over all scenarios of all parts, which weigh the same; the arms are those that all have."""
    scenarios = [s for part in parts for s in part]
    areas: dict[str, dict[int, float]] = {}
    fractions: dict[str, tuple[float | None, ...]] = {}
    for label in (arm.group.label for arm in scenarios[0].arms):
        found = [[arm for s in part if (arm := s.arm(label)) is not None] for part in parts]
        arms = [arm for part in found for arm in part]
        if len(arms) == len(scenarios):
            means = _mean_by_seed([_mean_by_seed([arm.areas for arm in part]) for part in found])
            if means:
                areas[label], fractions[label] = means, tuple(arm.fraction for arm in arms)
    base = next((s.reference for s in scenarios if s.reference in areas), None)
    result = []
    for label, mine in areas.items():
        theirs = {} if base is None or label == base else areas[base]
        gaps = [mine[seed] - theirs[seed] for seed in sorted(mine.keys() & theirs.keys())]
        area = estimate(mine.values())
        assert area is not None
        result.append(Overall(name, label, len(scenarios), area, estimate(gaps), paired_test(gaps), fractions[label]))
    return sorted(result, key=lambda o: -o.area.mean)


def _mean_by_seed(tables: Sequence[dict[int, float]]) -> dict[int, float]:
    """Means of the seeds that all tables have."""
    seeds = sorted(set.intersection(*map(set, tables)))
    return {seed: float(np.mean([t[seed] for t in tables])) for seed in seeds}
