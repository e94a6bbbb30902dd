"""Several runs together: means and intervals over seeds, paired differences between strategies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from aczerots.report.runs import Run

# Left out of the differences that a label lists: repetitions differ in seed, and the label begins with strategy
# and preset.
_NOT_LISTED = frozenset({"seed", "strategy", "preset"})


@dataclass(frozen=True)
class Curve:
    """A score over the labelled fraction of the pool.

    Attributes:
        label: Name in the legend.
        fraction: Labelled fraction, 0..1, ascending.
        score: Score at each fraction, 0..1; None where undefined, which breaks the line.
        low: Lower end of the interval at each fraction, or None for no band.
        high: Upper end.
    """

    label: str
    fraction: Sequence[float]
    score: Sequence[float | None]
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds with its 95 % t-interval from ``low`` to ``high``; a single seed has none."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def mean_defined(values: Iterable[float | None]) -> float | None:
    """Mean of the defined values, None without any."""
    defined = [v for v in values if v is not None]
    return float(np.mean(defined)) if defined else None


def estimate(values: Iterable[float | None]) -> Estimate | None:
    """Mean of the defined values and 95 % interval from Student's t with n - 1 degrees of freedom; None without any."""
    defined = [v for v in values if v is not None]
    if not defined:
        return None
    mean = float(np.mean(defined))
    if len(defined) == 1:
        return Estimate(mean, None, None, 1)
    from scipy.special import stdtrit

    half = float(stdtrit(len(defined) - 1, 0.975) * np.std(defined, ddof=1) / np.sqrt(len(defined)))
    return Estimate(mean, mean - half, mean + half, len(defined))


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
    """Area under hIoU over the labelled fraction by trapezoids, divided by the span of fractions: a mean hIoU.

    Rounds with undefined hIoU are left out; None with fewer than two others.
    """
    points = [(r.labelled_fraction, r.hiou) for r in run.rounds if r.hiou is not None]
    if len(points) < 2 or points[-1][0] <= points[0][0]:
        return None
    fraction, score = np.array(points, dtype=float).T
    return float(np.trapezoid(score, fraction) / (fraction[-1] - fraction[0]))


def final_hiou(run: Run) -> float | None:
    """The hIoU of the last round."""
    return run.rounds[-1].hiou


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ only in seed, ordered by it; ``label`` tells them from the other groups of the dataset."""

    label: str
    runs: tuple[Run, ...]

    @property
    def dataset(self) -> str:
        """Short name of the dataset."""
        return self.runs[0].record.dataset

    @property
    def all_labels(self) -> bool:
        """Whether the runs label the whole pool at once: a level to compare with, not a curve."""
        labelled = [r.labelled_fraction for run in self.runs for r in run.rounds if r.round > 0]
        return bool(labelled) and min(labelled) >= 1

    @property
    def zero_shot(self) -> float | None:
        """Mean hIoU of round 0."""
        return mean_defined(run.zero_shot_hiou for run in self.runs)

    @property
    def full(self) -> float | None:
        """Mean hIoU of the models trained on the whole pool."""
        return mean_defined(run.full_hiou for run in self.runs)

    @property
    def final(self) -> Estimate | None:
        """The hIoU of the last round."""
        return estimate(map(final_hiou, self.runs))

    @property
    def area(self) -> Estimate | None:
        """The area under the curve; None where there is no curve."""
        return None if self.all_labels else estimate(map(area_under_curve, self.runs))

    def differences(self, reference: SeedGroup, score: Callable[[Run], float | None]) -> list[float]:
        """A score of the runs minus that of the reference's, one per seed that both have."""
        theirs = {run.record.seed: score(run) for run in reference.runs}
        pairs = [(score(run), theirs.get(run.record.seed)) for run in self.runs]
        return [a - b for a, b in pairs if a is not None and b is not None]

    def curve(self) -> Curve:
        """Mean hIoU over the seeds at each round, with its interval where every seed has a value.

        A round counts if all runs have it; its fraction is the mean of theirs.
        """
        rounds = sorted(set.intersection(*({r.round for r in run.rounds} for run in self.runs)))
        table = [{r.round: r for r in run.rounds} for run in self.runs]
        columns = [[rows[k].hiou for rows in table] for k in rounds]
        estimates = [None if None in column else estimate(column) for column in columns]
        single = len(self.runs) == 1
        return Curve(
            label=self.label if single else f"{self.label} (n = {len(self.runs)})",
            fraction=[float(np.mean([rows[k].labelled_fraction for rows in table])) for k in rounds],
            score=[None if e is None else e.mean for e in estimates],
            low=None if single else [None if e is None else e.low for e in estimates],
            high=None if single else [None if e is None else e.high for e in estimates],
        )


def _listed(run: Run) -> dict[str, str]:
    """Settings that make it another experiment, as canonical JSON by name."""
    settings = run.record.settings
    return {k: json.dumps(v, sort_keys=True) for k, v in settings.items() if k not in _NOT_LISTED}


def _label(run: Run, peers: Sequence[Run]) -> str:
    """Strategy and preset, plus the settings in which it differs from peers that have both in common with it."""
    record = run.record
    if SeedGroup("", (run,)).all_labels:
        return f"all labels · {record.preset}"
    mine, others = _listed(run), [_listed(peer) for peer in peers]
    names = sorted({k for other in others for k in {*mine, *other} if mine.get(k) != other.get(k)})
    extra = [f"{name}={json.loads(mine[name]) if name in mine else '-'}" for name in names]
    return " · ".join([record.strategy, record.preset, *extra])


def group_runs(runs: Sequence[Run]) -> tuple[SeedGroup, ...]:
    """Group by dataset, strategy, preset and settings; runs of a group differ in seed."""
    kinds: dict[tuple[str, str, str], list[Run]] = {}
    groups: dict[str, list[Run]] = {}
    for run in runs:
        kind = run.record.dataset, run.record.strategy, run.record.preset
        kinds.setdefault(kind, []).append(run)
        groups.setdefault(json.dumps([kind, sorted(_listed(run).items())]), []).append(run)

    def label(run: Run) -> str:
        return _label(run, kinds[run.record.dataset, run.record.strategy, run.record.preset])

    return tuple(
        SeedGroup(label(members[0]), tuple(sorted(members, key=lambda run: run.record.seed)))
        for members in groups.values()
    )
