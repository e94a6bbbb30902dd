"""Statistics of an experiment: areas, paired differences, label efficiency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aczerots.report.compare import (
    Estimate,
    Group,
    area_under_curve,
    estimate,
    group_curve,
    paired_difference,
    paired_test,
)
from aczerots.report.figures import Curve
from aczerots.simulate.experiment.table import FinishedRun

GOAL = 0.97
"""Share of the full-label hIoU that label efficiency asks for."""

_SAME = frozenset({"dataset", "unseen", "initial", "budget", "rounds", "first", "seed", "strategy", "without"})
"""Settings that a label need not tell: equal in a scenario, repetitions, or named first."""


@dataclass(frozen=True)
class Arm:
    """Runs that differ only in seed, against the reference of their scenario.

    Attributes:
        group: The runs with their label.
        strategy: Name of the strategy.
        curve: Mean hIoU over the share drawn, with bands.
        zero_shot: Mean hIoU of round 0.
        full: Mean full-label hIoU.
        final: Final hIoU.
        area: Area under the curve, divided by its span.
        difference: Area minus the reference's, paired by seed; None for the reference itself.
        p: Two-sided p of the paired t-test of ``difference``.
        share: Share of the pool at which the mean hIoU reaches GOAL of the full-label hIoU; None if it does not.
        ratio: That share over the one at which the reference reaches the same hIoU.
    """

    group: Group
    strategy: str
    curve: Curve
    zero_shot: float | None
    full: float | None
    final: Estimate | None
    area: Estimate | None
    difference: Estimate | None
    p: float | None
    share: float | None
    ratio: float | None

    @property
    def rank(self) -> float:
        """Sorts the largest area first."""
        return float("inf") if self.area is None else -self.area.mean


@dataclass(frozen=True)
class Scenario:
    """Arms that can be compared: one dataset, one set of unseen classes, one budget."""

    dataset: str
    unseen: str
    budget: str
    reference: str
    arms: tuple[Arm, ...]


@dataclass(frozen=True)
class Overall:
    """An arm over all sets of unseen classes of a dataset, or of all datasets: means per seed, then over seeds.

    ``shares`` are those of :class:`Arm`, one per set; None where the goal is not reached.
    """

    dataset: str
    label: str
    scenarios: int
    area: Estimate
    difference: Estimate | None
    p: float | None
    shares: tuple[float | None, ...]

    @property
    def reached(self) -> int:
        """Sets in which the goal is reached."""
        return sum(share is not None for share in self.shares)

    @property
    def share(self) -> float | None:
        """Mean share of the pool in the sets in which the goal is reached."""
        return mean_defined(self.shares)


def crossing(shares: Sequence[float], scores: Sequence[float | None], goal: float) -> float | None:
    """The smallest share at which a curve reaches a goal, by linear interpolation; None if it never does.

    Args:
        shares: Ascending.
        scores: Score at each share; undefined ones are left out.
        goal: The score asked for.
    """
    points = [(x, y) for x, y in zip(shares, scores, strict=True) if y is not None]
    for i, (x, y) in enumerate(points):
        if y >= goal:
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
    groups: dict[str, list[FinishedRun]] = {}
    for d in members:
        groups.setdefault(label_of(d, members), []).append(d)
    made = [
        (Group(label, tuple(d.run for d in sorted(part, key=lambda d: d.planned.settings.seed))), part[0])
        for label, part in groups.items()
    ]
    base = next((g for g, d in made if d.planned.settings.strategy == reference), made[0][0])
    dataset, unseen, initial, budget, rounds, first = key
    text = f"{100 * float(initial):g} % + {100 * float(budget):g} %, {rounds} rounds"
    text += "" if first == "random" else ", the strategy chooses from the start"
    arms = tuple(_arm(group, first.planned.settings.strategy, base) for group, first in made)
    return Scenario(dataset, unseen, text, base.label, arms)


def mean_defined(values: Sequence[float | None]) -> float | None:
    """Mean of the defined values, None without any."""
    defined = [v for v in values if v is not None]
    return float(np.mean(defined)) if defined else None


def _arm(group: Group, strategy: str, base: Group) -> Arm:
    """Numbers of one arm."""
    curve, other = group_curve(group), group_curve(base)
    full = mean_defined([r.full_hiou for r in group.runs])
    goal = None if full is None else GOAL * full
    share = None if goal is None else crossing(curve.share, curve.score, goal)
    theirs = None if goal is None else crossing(other.share, other.score, goal)
    same = group is base
    return Arm(
        group=group,
        strategy=strategy,
        curve=Curve(group.label, curve.share, curve.score, curve.low, curve.high),
        zero_shot=mean_defined([r.zero_shot_hiou for r in group.runs]),
        full=full,
        final=estimate([v for v in (r.rounds[-1].hiou for r in group.runs) if v is not None]),
        area=estimate([v for v in map(area_under_curve, group.runs) if v is not None]),
        difference=None if same else paired_difference(group, base)[1],
        p=None if same else paired_test(area_differences(group, base)),
        share=share,
        ratio=share / theirs if share is not None and theirs else None,
    )


def area_differences(group: Group, base: Group) -> list[float]:
    """Area under the curve minus the reference's, one per seed that both have."""
    theirs = {r.record.seed: area_under_curve(r) for r in base.runs}
    pairs = [(area_under_curve(r), theirs.get(r.record.seed)) for r in group.runs]
    return [a - b for a, b in pairs if a is not None and b is not None]


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
    mine = [s for part in parts for s in part]
    labels = [a.group.label for a in mine[0].arms if all(_find(s, a.group.label) for s in mine)]
    areas = {
        label: _mean_by_seed([_mean_by_seed([_areas(s, label) for s in part]) for part in parts]) for label in labels
    }
    base = next((s.reference for s in mine if s.reference in areas), None)
    result = []
    for label, found in areas.items():
        if not found:
            continue
        shared = [] if base is None or label == base else sorted(set(found) & set(areas[base]))
        gap = [found[k] - areas[str(base)][k] for k in shared]
        whole = estimate(list(found.values()))
        assert whole is not None
        shares = tuple(a.share for s in mine for a in s.arms if a.group.label == label)
        result.append(Overall(name, label, len(mine), whole, estimate(gap), paired_test(gap), shares))
    return sorted(result, key=lambda o: -o.area.mean)


def _find(scenario: Scenario, label: str) -> Arm | None:
    """The arm of that label."""
    return next((a for a in scenario.arms if a.group.label == label), None)


def _areas(scenario: Scenario, label: str) -> dict[int, float]:
    """Area of that arm by seed."""
    arm = _find(scenario, label)
    assert arm is not None
    return {r.record.seed: a for r in arm.group.runs if (a := area_under_curve(r)) is not None}


def _mean_by_seed(tables: Sequence[dict[int, float]]) -> dict[int, float]:
    """Means of the seeds that all tables have."""
    seeds = sorted(set.intersection(*map(set, tables)))
    return {seed: float(np.mean([t[seed] for t in tables])) for seed in seeds}
