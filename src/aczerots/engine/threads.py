"""How many threads numerical libraries use.

How many threads share a sum shows in its last digits, these in a fit, and the fit in the tiles that a strategy asks
for. What must give the same numbers on any machine therefore computes on one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aczerots.storage.machine import few_threads


@contextmanager
def use_threads(threads: int) -> Iterator[None]:
    """Torch, NumPy and what is imported meanwhile compute on this many threads here."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with few_threads(threads), threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)
