"""What the tests beside upstream libraries share: environment, torchvision that can be imported, upstream parts.

They run in an environment of their own (make test-extras) and lie outside tests/, whose tests need none of timm,
open_clip or torchvision.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Read by libraries when they are imported, hence set before any test module is.
os.environ["OMP_NUM_THREADS"] = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
os.environ["MPLCONFIGDIR"] = str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "matplotlib")
os.environ["MPLBACKEND"] = "agg"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["NO_COLOR"] = "1"

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path += [
    str(TESTS / name) for name in ("backbones", "datasets", "engine", "selection", "slides")
]  # tiny models and layouts that both suites use

import torchvision_ops  # noqa: E402  # imports torch, which reads the environment

LIBRARY = torchvision_ops.declare()
