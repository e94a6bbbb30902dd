"""What all tests share: a deterministic environment, hypothesis settings, the real images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import find_binaries, server
from tests.quick import shorten_fits

REPOSITORY = Path(__file__).resolve().parents[1]
IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

# Read by libraries when they are imported, hence set before any test module is; subprocesses inherit all of it.
# One thread per process: several that wait for each other on a busy machine take many times as long.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
os.environ["MPLCONFIGDIR"] = str(REPOSITORY / ".pytest_cache" / "matplotlib")
os.environ["MPLBACKEND"] = "agg"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["NO_COLOR"] = "1"
os.environ["COLUMNS"] = "100"
os.environ.pop("FORCE_COLOR", None)

quiet = [HealthCheck.too_slow]  # which on a busy machine says nothing about the test
settings.register_profile("aczerots", deadline=None, derandomize=IN_CI, suppress_health_check=quiet)
settings.load_profile("aczerots")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real images: ``ACZEROTS_DATA``, else ``../shared/data`` beside the repository.

    Where it is missing the test is skipped, on the machine that checks every change it fails.
    """
    folder = Path(os.environ.get("ACZEROTS_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        reason = f"no real images at {folder}; set ACZEROTS_DATA"
        if IN_CI:
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a private PostgreSQL server; skipped where none is installed, on the checking machine it fails."""
    binaries = find_binaries()
    if binaries is None:
        reason = "PostgreSQL is not installed (apt install postgresql)"
        if IN_CI:
            pytest.fail(reason)
        pytest.skip(reason)
    with server(binaries) as url:
        yield url


@pytest.fixture
def short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits of three steps: who is fitted to what still shows."""
    shorten_fits(monkeypatch)
