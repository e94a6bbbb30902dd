"""What the tests of the server share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.small_project import SmallProject, small_round


@pytest.fixture
def project(tmp_path: Path) -> Iterator[SmallProject]:
    with small_round(tmp_path) as made:
        yield made
