"""Which units wait and how often each was begun: what engines with workers share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from aczerots.engine.base import TRIES, Ended, Failure, Result, Unit

_AHEAD = 2
"""Units that a worker holds: the one it does and the next, so that it never waits. More would be lost with it."""


@dataclass
class QueuedUnit(Generic[Unit]):
    """A unit and the number of times that its worker died."""

    unit: Unit
    deaths: int = 0


class UnitQueue(Generic[Unit, Result]):
    """Hands out units and takes back their results.

    Args:
        units: What to begin with.
        ended: Told of each unit that ends.

    Attributes:
        unfinished: Units that wait or are being done.
    """

    def __init__(self, units: Sequence[Unit], ended: Ended[Unit, Result]) -> None:
        self._waiting: deque[QueuedUnit[Unit]] = deque(QueuedUnit(unit) for unit in units)
        self._ended = ended
        self.unfinished = len(self._waiting)

    @property
    def waiting(self) -> int:
        """Units that no worker holds."""
        return len(self._waiting)

    def take(self) -> QueuedUnit[Unit] | None:
        """The next unit, None if none waits."""
        return self._waiting.popleft() if self._waiting else None

    def supply(self, held: deque[QueuedUnit[Unit]], workers: int, send: Callable[[Unit], None]) -> None:
        """Give a worker as many units as it may hold; when few are left, each worker gets one.

        Args:
            held: Units that the worker holds; the new ones are appended.
            workers: Number of workers.
            send: Sends a unit to the worker.
        """
        limit = _AHEAD if self.waiting > workers else 1
        while len(held) < limit and (queued := self.take()) is not None:
            held.append(queued)
            send(queued.unit)

    def finish(self, queued: QueuedUnit[Unit], outcome: Result | Failure) -> None:
        """A unit has ended. What follows from it comes first, so that begun work is finished before more is begun."""
        more = [QueuedUnit(unit) for unit in self._ended(queued.unit, outcome)]
        self.unfinished += len(more) - 1
        self._waiting.extendleft(reversed(more))

    def recover(self, held: deque[QueuedUnit[Unit]], begun: bool) -> None:
        """Take back what a dead worker held; the first unit fails if too many workers have died of it.

        Args:
            held: The worker's units in order.
            begun: Whether it had begun the first one.
        """
        if begun and held:
            held[0].deaths += 1
            if held[0].deaths >= TRIES:
                reason = f"the worker that had it died {TRIES} times; memory may have run out"
                self.finish(held.popleft(), Failure("lost", reason))
        self._waiting.extendleft(reversed(held))
