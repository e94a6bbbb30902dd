"""A batch of two hundred small slides through Ray on two nodes of this machine, one of which is killed half-way.

Compared with the local engine with as many processes, in one run: the files must be the same byte for byte, none
missing, none more, and it says how much longer Ray takes. The killed node is replaced by a new one after a while,
as a cluster's scheduler would; ``--no-kill`` measures the overhead alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aczerots.engine.base import Engine
from aczerots.engine.local import ProcessEngine
from aczerots.engine.ray_cluster import RayEngine
from aczerots.predict.slides import predict_slides
from benchmarks.scale_slides import free_cores, tissue_pattern, write_slide, zeroshot_model

NODES = 2


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file by its name."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def timed(model: Path, slides: list[Path], out: Path, engine: Engine) -> float:
    """Seconds that an engine takes for all slides."""
    started = time.perf_counter()
    rows, failures = predict_slides(model, slides, out, engine=engine)
    assert len(rows) == len(slides), failures
    return time.perf_counter() - started


def replace_node(cluster: Any, node: Any, out: Path, count: int, started: list[subprocess.Popen[bytes]]) -> None:
    """Kill a node when so many slides are finished, and bring another, which comes into ``started``."""
    while len(list(out.glob("*.json"))) < count:
        time.sleep(0.1)
    cluster.remove_node(node, allow_graceful=False)
    print(json.dumps({"killed_after_slides": len(list(out.glob("*.json")))}), flush=True)
    # Nodes that the test cluster adds itself take signals, which only the main thread may do.
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={cluster.address}", "--num-cpus=1"]
    started.append(subprocess.Popen([*command, "--block"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slides", type=int, default=200)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--no-kill", action="store_true")
    options = parser.parse_args(arguments)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, pattern = zeroshot_model(folder / "model.safetensors"), tissue_pattern(2048)
        (folder / "in").mkdir()
        slides = []
        for i in range(options.slides):
            moved = np.roll(pattern, (37 * i, 53 * i), (0, 1))
            slides.append(write_slide(folder / "in" / f"s{i:03d}.svs", options.side, moved))
        local = timed(model, slides, folder / "local", ProcessEngine(["cpu"] * NODES, threads=1))
        print(json.dumps({"local_s": round(local, 1)}), flush=True)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        nodes = [cluster.add_node(num_cpus=1) for _ in range(NODES)]
        out, started = folder / "ray", list[subprocess.Popen[bytes]]()
        if not options.no_kill:
            facts = (cluster, nodes[1], out, options.slides // 2, started)
            threading.Thread(target=replace_node, args=facts, daemon=True).start()
        ray = timed(model, slides, out, RayEngine(cluster.address, workers=NODES))
        one, other = digests(folder / "local"), digests(out)
        for process in started:
            process.terminate()
            process.wait()
        cluster.shutdown()
    row = {"slides": options.slides, "side": options.side, "local_s": round(local, 1), "ray_s": round(ray, 1)}
    row |= {"overhead": round(ray / local - 1, 3), "killed": not options.no_kill, "files": len(one)}
    row |= {"same_bytes": one == other, "free_cores": round(free_cores(), 1)}
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
