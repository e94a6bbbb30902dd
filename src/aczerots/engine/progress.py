"""How long work tells where it stands."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives progress; implementations decide how to show it."""

    def say(self, text: str) -> None:
        """One line for the user."""

    def step(self, stage: str, done: int, total: int) -> None:
        """``done`` of ``total`` units of ``stage`` are finished."""


class Silent:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """See :class:`Progress`."""

    def step(self, stage: str, done: int, total: int) -> None:
        """See :class:`Progress`."""
