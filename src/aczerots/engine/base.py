"""What an engine is: it runs units of work somewhere, and the results do not depend on where.

Words: a *job* says what is to be done; a *worker* (a process, a Ray actor, or this process) opens the job once, which
loads what all units need; a *unit* is one piece of the job (a slide, a shard of tiles, a simulated run).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from aczerots.errors import AczerotsError

TRIES = 3
"""How often a unit is begun if its worker dies each time; then the unit is what kills workers."""

_DEFECTS = (OSError, MemoryError, RuntimeError, ValueError, ArithmeticError, LookupError, TypeError, AssertionError)

Unit = TypeVar("Unit")
Result = TypeVar("Result")
UnitIn_contra = TypeVar("UnitIn_contra", contravariant=True)
ResultOut_co = TypeVar("ResultOut_co", covariant=True)


@dataclass(frozen=True)
class Failure:
    """Why a unit has no result.

    Attributes:
        kind: Name of the error's class; ``lost`` for a unit whose workers died.
        reason: One line for the user.
    """

    kind: str
    reason: str


Ended = Callable[[Unit, Result | Failure], Sequence[Unit]]
"""Told of a unit and its result; returns units that are to be run next."""


class Job(Protocol[UnitIn_contra, ResultOut_co]):
    """What workers do. Workers get a copy, so it holds paths, URLs and settings, never pixels or weights."""

    def open(self, device: str) -> Callable[[UnitIn_contra], ResultOut_co]:
        """Load what all units need, once per worker.

        Args:
            device: Where the worker computes.

        Returns:
            A function that does a unit. Doing one twice, also at the same time, must end as doing it once.

        Raises:
            AczerotsError: No worker could do anything.
        """


@runtime_checkable
class Engine(Protocol):
    """Runs the units of a job."""

    @property
    def workers(self) -> int:
        """Units that may run at the same time."""

    @property
    def here(self) -> bool:
        """Whether units run in this process, one after the other."""

    def run(self, job: Job[Unit, Result], units: Sequence[Unit], ended: Ended[Unit, Result]) -> None:
        """Run all units, in any order.

        A unit that raises fails alone. A unit whose worker dies is begun again elsewhere, up to :data:`TRIES` times.

        Args:
            job: What to do; it and the units must be such that they can be sent to another process.
            units: The units.
            ended: Called in this thread once for each unit that ends; what it raises ends everything.

        Raises:
            AczerotsError: The job cannot be opened, or there are no workers.
        """


def attempt(work: Callable[[Unit], Result], unit: Unit) -> Result | Failure:
    """The result of a unit, or why there is none."""
    try:
        return work(unit)
    except AczerotsError as error:
        return Failure(type(error).__name__, str(error))
    except _DEFECTS as error:
        # A defect that one unit brings to light must not stop the others; its kind helps to report it.
        return Failure(type(error).__name__, f"{type(error).__name__}: {error}")
