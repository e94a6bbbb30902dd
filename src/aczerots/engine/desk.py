"""Which units wait, which are in work, how often each was begun: the part that engines with workers share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from aczerots.engine.base import TRIES, Failure, Result, Unit, lost


@dataclass
class Ticket(Generic[Unit]):
    """A unit on its way.

    Attributes:
        unit: The unit.
        tries: How often it was begun.
    """

    unit: Unit
    tries: int = 0


class Desk(Generic[Unit, Result]):
    """Hands out units and takes back what came of them.

    Args:
        units: What to begin with.
        ended: See :meth:`~aczerots.engine.base.Engine.run`.
    """

    def __init__(self, units: Sequence[Unit], ended: Callable[[Unit, Result | Failure], Sequence[Unit]]) -> None:
        self._waiting: deque[Ticket[Unit]] = deque(Ticket(unit) for unit in units)
        self._ended = ended
        self.open = len(self._waiting)

    @property
    def waiting(self) -> int:
        """Units that nobody has."""
        return len(self._waiting)

    def take(self) -> Ticket[Unit] | None:
        """The next unit, None if none waits."""
        return self._waiting.popleft() if self._waiting else None

    def end(self, ticket: Ticket[Unit], outcome: Result | Failure) -> None:
        """A unit has ended. What follows from it comes first: work that is begun is finished before more is begun."""
        more = [Ticket(unit) for unit in self._ended(ticket.unit, outcome)]
        self.open += len(more) - 1
        self._waiting.extendleft(reversed(more))

    def lose(self, ticket: Ticket[Unit]) -> None:
        """The worker of a unit that it had begun has died: the unit waits again, or fails after so many tries."""
        ticket.tries += 1
        if ticket.tries < TRIES:
            self.give_back(ticket)
        else:
            self.end(ticket, lost(ticket.tries))

    def give_back(self, ticket: Ticket[Unit]) -> None:
        """A unit that was handed out and not begun waits again."""
        self._waiting.appendleft(ticket)
