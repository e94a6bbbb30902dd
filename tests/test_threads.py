"""Several test processes share a machine: none of them computes on more than one thread."""

from __future__ import annotations

import numpy as np
import torch
from threadpoolctl import threadpool_info


def test_nobody_loaded_numpy_before_it_was_told_to_use_one_thread() -> None:
    assert np.ones(2) @ np.ones(2) == 2
    assert {pool["num_threads"] for pool in threadpool_info()} == {1}
    assert torch.get_num_threads() == 1
