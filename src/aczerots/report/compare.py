"""Several runs together: means and intervals over seeds, paired differences between strategies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aczerots.report.figures import Curve
from aczerots.report.runs import Run

# Settings that are no part of a label's list of differences: repetitions differ in seed, and the label starts
# with strategy and preset.
_INCIDENTAL = frozenset({"seed", "strategy", "preset"})


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds with its 95 % t-interval.

    Attributes:
        mean: The mean.
        low: Lower end; None for a single seed, which has no interval.
        high: Upper end.
        n: Number of seeds.
    """

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Group:
    """Runs that differ only in seed.

    Attributes:
        label: Strategy and preset, and what else tells it from the other groups of the dataset.
        runs: The runs by seed.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def dataset(self) -> str:
        """Short name of the dataset."""
        return self.runs[0].record.dataset

    @property
    def full(self) -> bool:
        """Whether the runs label the whole pool at once: a level to compare with, not a curve."""
        labelled = [r.labelled_fraction for run in self.runs for r in run.rounds if r.round > 0]
        return bool(labelled) and min(labelled) >= 1


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean and 95 % interval from Student's t with n - 1 degrees of freedom; None without values."""
    if not values:
        return None
    mean = float(np.mean(values))
    if len(values) == 1:
        return Estimate(mean, None, None, 1)
    from scipy.special import stdtrit

    half = float(stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Estimate(mean, mean - half, mean + half, len(values))


def paired_test(differences: Sequence[float]) -> float | None:
    """Two-sided p-value of Student's t-test that the mean of paired differences is zero.

    Returns:
        None with fewer than two differences, or if all are equal: then there is nothing to test with.
    """
    if len(differences) < 2 or np.ptp(differences) == 0:
        return None
    from scipy.special import stdtr

    n = len(differences)
    t = abs(float(np.mean(differences))) / (float(np.std(differences, ddof=1)) / np.sqrt(n))
    return float(2 * stdtr(n - 1, -t))


def area_under_curve(run: Run) -> float | None:
    """Area under hIoU over labelled share by trapezoids, divided by the span of shares: a mean hIoU.

    Rounds with undefined hIoU are left out; None with fewer than two others.
    """
    points = [(r.labelled_fraction, r.hiou) for r in run.rounds if r.hiou is not None]
    if len(points) < 2 or points[-1][0] <= points[0][0]:
        return None
    share, score = np.array(points, dtype=float).T
    return float(np.trapezoid(score, share) / (share[-1] - share[0]))


def final_hiou(run: Run) -> float | None:
    """The hIoU of the last round."""
    return run.rounds[-1].hiou


def _essential(run: Run) -> dict[str, str]:
    """Settings that make it another experiment, as canonical JSON by name."""
    settings = run.record.settings
    return {k: json.dumps(v, sort_keys=True) for k, v in settings.items() if k not in _INCIDENTAL}


def _label(run: Run, peers: Sequence[Run]) -> str:
    """Strategy and preset, plus the settings in which it differs from peers that share both."""
    record = run.record
    if Group("", (run,)).full:
        return f"all labels · {record.preset}"
    mine, others = _essential(run), [_essential(peer) for peer in peers]
    names = sorted({k for other in others for k in {*mine, *other} if mine.get(k) != other.get(k)})
    extra = [f"{name}={json.loads(mine[name]) if name in mine else '-'}" for name in names]
    return " · ".join([record.strategy, record.preset, *extra])


def group_runs(runs: Sequence[Run]) -> tuple[Group, ...]:
    """Group by dataset, strategy, preset and settings; runs of a group differ in seed."""

    def kind(run: Run) -> tuple[str, str, str]:
        return run.record.dataset, run.record.strategy, run.record.preset

    groups: dict[str, list[Run]] = {}
    for run in runs:
        key = json.dumps([kind(run), sorted(_essential(run).items())])
        groups.setdefault(key, []).append(run)
    return tuple(
        Group(
            _label(members[0], [r for r in runs if kind(r) == kind(members[0])]),
            tuple(sorted(members, key=lambda run: run.record.seed)),
        )
        for members in groups.values()
    )


def group_curve(group: Group) -> Curve:
    """Mean hIoU over the seeds at each round, with its interval where every seed has a value.

    A round counts as long as all runs of the group have it; its share is the mean of theirs.
    """
    rounds = sorted(set.intersection(*({r.round for r in run.rounds} for run in group.runs)))
    table = [{r.round: r for r in run.rounds} for run in group.runs]
    share = [float(np.mean([rows[k].labelled_fraction for rows in table])) for k in rounds]
    columns = [[rows[k].hiou for rows in table] for k in rounds]
    estimates = [None if None in c else estimate([v for v in c if v is not None]) for c in columns]
    single = len(group.runs) == 1
    return Curve(
        label=group.label if single else f"{group.label} (n = {len(group.runs)})",
        share=share,
        score=[None if e is None else e.mean for e in estimates],
        low=None if single else [None if e is None else e.low for e in estimates],
        high=None if single else [None if e is None else e.high for e in estimates],
    )


def paired_difference(group: Group, reference: Group) -> tuple[Estimate | None, Estimate | None]:
    """Final hIoU and area under the curve minus those of the reference, paired by seed."""
    theirs = {run.record.seed: run for run in reference.runs}
    pairs = [(run, theirs[run.record.seed]) for run in group.runs if run.record.seed in theirs]
    final = [(final_hiou(a), final_hiou(b)) for a, b in pairs]
    area = [(area_under_curve(a), area_under_curve(b)) for a, b in pairs]
    differences = [[a - b for a, b in both if a is not None and b is not None] for both in (final, area)]
    return estimate(differences[0]), estimate(differences[1])
