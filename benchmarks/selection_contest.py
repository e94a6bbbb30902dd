"""One contestant in a process of its own: choose, and say how long it took and how much memory.

    python -m benchmarks.selection_contest NAME SOURCE BUDGET

SOURCE is a folder of :mod:`~benchmarks.selection_pools`, or an ``.npy`` file of points [n, d].
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.selection_pools import open_pool, pool_of_points

WARM = 300


def ours(name: str) -> Callable[[Path, int], np.ndarray]:
    """A strategy of aczerots on a pool, or on points."""
    from aczerots.selection.locate import locate_strategy

    def choose(source: Path, budget: int) -> np.ndarray:
        pool = open_pool(source) if source.is_dir() else pool_of_points(np.load(source))
        return locate_strategy(name).select(pool, budget, np.random.default_rng(0)).tiles

    return coverage if name == "coverage" else choose


def coverage(source: Path, budget: int) -> np.ndarray:
    """The coverage term of our strategy alone, on points as they are: facility location, all points asking alike."""
    from aczerots.selection.coverage import CoverageState, DiversityState, condense
    from aczerots.selection.greedy import LazyGreedy
    from aczerots.selection.limits import Allowance

    points = np.load(source)
    n = len(points)
    asking, demand = condense(points, np.full(n, 1 / n, np.float32), 1024, np.random.default_rng(0))
    state = CoverageState(asking, demand, np.zeros(len(asking), np.float32), points[:, None])
    alike = DiversityState(np.zeros((n, 1), np.float32), np.ones(n, np.float32))
    greedy = LazyGreedy({"coverage": 1.0}, np.zeros(n), alike, state, None)
    return greedy.run(np.arange(n), budget, Allowance(np.zeros(n, bool))).tiles


def skactiveml(name: str) -> Callable[[Path, int], np.ndarray]:
    """A query strategy of scikit-activeml without labels."""
    import skactiveml.pool

    options = {"ProbCover": {"n_classes": 2}}.get(name, {})

    def choose(source: Path, budget: int) -> np.ndarray:
        points = np.load(source)
        query = getattr(skactiveml.pool, name)(random_state=0, **options)
        return np.asarray(query.query(points, np.full(len(points), np.nan), batch_size=budget))

    return choose


def apricot() -> Callable[[Path, int], np.ndarray]:
    """Facility location of apricot-select.

    Its metric "cosine" squares the cosines. On points of length 1 "euclidean" stands for cosines plus a constant.
    """
    from apricot import FacilityLocationSelection

    def choose(source: Path, budget: int) -> np.ndarray:
        selection = FacilityLocationSelection(budget, metric="euclidean", optimizer="lazy", random_state=0)
        return np.asarray(selection.fit(np.load(source)).ranking)

    return choose


def submodlib() -> Callable[[Path, int], np.ndarray]:
    """Facility location of submodlib on cosines."""
    from submodlib import FacilityLocationFunction

    def choose(source: Path, budget: int) -> np.ndarray:
        points = np.load(source)
        function = FacilityLocationFunction(n=len(points), mode="dense", data=points, metric="cosine")
        found = function.maximize(budget=budget, optimizer="LazyGreedy", show_progress=False)
        return np.array([tile for tile, _ in found])

    return choose


def contestant(name: str) -> Callable[[Path, int], np.ndarray]:
    """The contestant of that name; ImportError if it is not installed."""
    library, _, method = name.partition(":")
    match library:
        case "aczerots":
            return ours(method)
        case "skactiveml":
            return skactiveml(method)
        case "apricot":
            return apricot()
        case _:
            return submodlib()


class Memory(threading.Thread):
    """Notes the largest memory of this process that is not part of a mapped file, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.over = threading.Event()

    def run(self) -> None:
        """Look every 20 ms."""
        while not self.over.wait(0.02):
            self.peak = max(self.peak, private_bytes())


def private_bytes() -> int:
    """Memory of this process that is not part of a mapped file; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def main() -> None:
    """Print one line of JSON."""
    name, source, budget = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    choose = contestant(name)
    if source.suffix == ".npy":
        # Compilers and lazy imports do their work on a few points first.
        few = source.with_name(f"few-{source.name}")
        np.save(few, np.load(source, mmap_mode="r")[:WARM])
        choose(few, 5)
    watch = Memory()
    watch.start()
    wall, cpu = time.perf_counter(), time.process_time()
    tiles = choose(source, budget)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    watch.over.set()
    watch.join()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    row = {"name": name, "wall": wall, "cpu": cpu, "peak": peak, "private": watch.peak, "tiles": tiles.tolist()}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
