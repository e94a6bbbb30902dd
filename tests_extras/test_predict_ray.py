"""Slides on two nodes of Ray, one of which is killed in the middle: the same bytes as in one process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zarr

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402  # needs the line above
from tests.patience import wait_until  # noqa: E402

from aczerots.config import SimulateSettings  # noqa: E402
from aczerots.engine.ray_cluster import RayEngine  # noqa: E402
from aczerots.loop.embed import embed_dataset  # noqa: E402
from aczerots.predict.slides import predict_slides  # noqa: E402
from small_maps import SMALL, digests, make_slides, save_zeroshot  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cluster, object]]:
    """A head without room for work, so that it cannot be lost with it, and two nodes of one core."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    found.add_node(num_cpus=1)
    doomed = found.add_node(num_cpus=1)
    try:
        yield found, doomed
    finally:
        ray.shutdown()
        found.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_zeroshot(tmp_path_factory.mktemp("model") / "model.safetensors")


def kill_when(found: Path, pattern: str, count: int, cluster: Cluster, node: object) -> threading.Thread:
    """Kill a node when so many files are there."""

    def watch() -> None:
        wait_until(lambda: len(list(found.glob(pattern))) >= count)
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_a_killed_node_loses_nothing(cluster: tuple[Cluster, object], model: Path, tmp_path: Path) -> None:
    slides = make_slides(tmp_path)
    here, there = tmp_path / "here", tmp_path / "there"
    rows, failures = predict_slides(model, slides, here, options=SMALL)
    killer = kill_when(there, "*.json", 3, *cluster)
    engine = RayEngine(cluster[0].address, workers=2)
    rows_there, failures_there = predict_slides(model, slides, there, options=SMALL, engine=engine)
    assert not killer.is_alive(), "the node died while there was work"
    assert rows_there == rows
    assert len(rows) == 10
    assert [str(f) for f in failures_there] == [str(f) for f in failures]
    assert "bad.svs" in str(failures[0])
    assert digests(there) == digests(here)


def test_embed_with_a_killed_node(cluster: tuple[Cluster, object], tmp_path: Path) -> None:
    settings = SimulateSettings(dataset="phantom:6,size=192", tile_size=32)
    here, there = tmp_path / "here", tmp_path / "there"
    embed_dataset(settings, cache=here)
    killer = kill_when(there, "*/shard-*.zarr", 1, *cluster)
    embed_dataset(settings, cache=there, engine=RayEngine(cluster[0].address, workers=2))
    killer.join(10)
    assert grids(there) == grids(here)


def grids(cache: Path) -> dict[str, bytes]:
    """DenseFeatures by key; a key that is there twice is an error."""
    found: dict[str, bytes] = {}
    for path in sorted(cache.glob("*/shard-*.zarr")):
        group = zarr.open_group(path, mode="r")
        for i, key in enumerate(group.attrs["keys"]):
            assert key not in found
            found[key] = group["aligned"][i].tobytes() + group["layers"][i].tobytes()
    return found
