"""How tests wait: until it happens, however busy the machine is.

No test measures time. A wait ends early only if what it waits for can no longer happen.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 1200.0
"""Seconds after which whatever a test waits for is taken to hang. Below pytest's own limit for a test."""


def wait_until(happened: Callable[[], bool], alive: Callable[[], bool] = lambda: True) -> None:
    """Wait for something that another thread or process does.

    Args:
        happened: Whether it is done.
        alive: Whether the one who does it is still at work.

    Raises:
        AssertionError: The worker ended without doing it, or nothing happened for :data:`PATIENCE` seconds.
    """
    until = time.monotonic() + PATIENCE
    while not happened():
        assert alive() or happened(), "it ended without doing what was waited for"
        assert time.monotonic() < until, f"nothing happened in {PATIENCE:g} seconds"
        time.sleep(0.01)
