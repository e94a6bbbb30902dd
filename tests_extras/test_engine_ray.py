"""The engine on a Ray cluster of two nodes on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray")
from engine_contract import WorkerContract  # noqa: E402  # needs the line above
from ray.cluster_utils import Cluster  # noqa: E402

from aczerots.engine.base import Engine  # noqa: E402
from aczerots.engine.locate import locate_engine  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes of one core each; what they start finds what these tests find."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    found.add_node(num_cpus=1)
    try:
        yield found
    finally:
        ray.shutdown()
        found.shutdown()
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


class TestRay(WorkerContract):
    """An actor per node."""

    @pytest.fixture
    def engine(self, cluster: Cluster) -> Engine:
        return locate_engine("ray", address=cluster.address)
