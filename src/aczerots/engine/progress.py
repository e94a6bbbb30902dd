"""How long work reports what it has done."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives progress; implementations decide how to show it."""

    def say(self, text: str) -> None:
        """One line for the user."""

    def step(self, stage: str, done: int, total: int) -> None:
        """``done`` of ``total`` units of ``stage`` are finished."""


class Silent:
    """Shows nothing; satisfies :class:`Progress`."""

    def say(self, text: str) -> None:
        """Ignore a line."""

    def step(self, stage: str, done: int, total: int) -> None:
        """Ignore a step."""
