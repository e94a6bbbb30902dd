"""Selection from pools of growing size, and beside other libraries on the same features.

    python -m benchmarks.scale selection [--sizes 10000,100000,1000000] [--peers 20000] [--budget 200]

Every run is a process of its own (:mod:`~benchmarks.selection_contest`), so that its memory is its own. The pools are
made (:mod:`~benchmarks.selection_pools`) and lie in memory maps: 16 cells of 128 numbers per tile, 100 tiles drawn.
The peers get the mean features of the tiles, centred and scaled to length 1, and nothing drawn. Objectives are
computed here from the chosen tiles alone; beside facility location runs the coverage term of our strategy alone. Times
are wall-clock seconds and seconds of processor time; the latter say more where other work runs. Peers that are not
installed are left out::

    pip install scikit-activeml apricot-select submodlib-py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aczerots.storage.machine import available_memory
from benchmarks.selection_pools import tile_points, write_pool

STRATEGIES = ("aczerots", "coreset", "typiclust", "probcover")
GIB = 2**30
LIMIT = 3600


@dataclass(frozen=True)
class Match:
    """One of ours beside others that are after the same thing.

    Attributes:
        ours: Name of our contestant.
        others: Names of theirs.
        objective: Which column of :func:`objectives` they are after.
        higher: Whether more of it is better.
    """

    ours: str
    others: tuple[str, ...]
    objective: str
    higher: bool = True


MATCHES = (
    Match("aczerots:coverage", ("apricot", "submodlib"), "cosine"),
    Match("aczerots:coreset", ("skactiveml:CoreSet",), "radius", higher=False),
    Match("aczerots:typiclust", ("skactiveml:TypiClust",), "typicality"),
)
NEEDS = {"apricot": 14, "submodlib": 56}
"""Bytes of memory per pair of tiles that a peer was seen to take."""


def run(name: str, source: Path, budget: int) -> dict[str, Any] | str:
    """Outcome of one contestant, or why there is none."""
    command = [sys.executable, "-m", "benchmarks.selection_contest", name, str(source), str(budget)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return f"stopped after {LIMIT} s"
    if done.returncode:
        last = done.stderr.strip().splitlines()
        return last[-1] if last else f"ended with {done.returncode}"
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Slope of the straight line through time over size, both logarithmic."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def objectives(points: np.ndarray, tiles: np.ndarray, neighbours: int = 20) -> dict[str, float]:
    """What some tiles are worth, from the definitions.

    ``cosine``: mean over all points of the largest cosine to a chosen one (facility location). ``radius``: largest
    distance of a point to the nearest chosen one (k-center). ``typicality``: mean over the chosen ones of one over the
    mean distance to the nearest points.

    Args:
        points: Unit vectors [n, d].
        tiles: Positions of the chosen ones.
        neighbours: For the typicality.
    """
    x = points.astype(np.float64)
    cosine = np.concatenate([x[i : i + 1000] @ x[tiles].T for i in range(0, len(x), 1000)])
    distance = np.sqrt(np.maximum(2.0 - 2.0 * cosine, 0.0))
    near = np.sort(distance, axis=0)[1 : neighbours + 1]
    return {
        "cosine": float(cosine.max(axis=1).mean()),
        "radius": float(distance.min(axis=1).max()),
        "typicality": float((1.0 / near.mean(axis=0)).mean()),
    }


def grow(strategies: Sequence[str], sizes: Sequence[int], budget: int, folder: Path) -> list[dict[str, Any]]:
    """Our strategies on pools of growing size."""
    rows = []
    print(f"\nbudget {budget}\n{'strategy':<12}{'tiles':>10}{'wall s':>9}{'cpu s':>9}{'own MiB':>9}{'with maps':>11}")
    for name in strategies:
        mine = []
        for size in sizes:
            row = run(f"aczerots:{name}", write_pool(folder, size), budget)
            if isinstance(row, str):
                print(f"{name:<12}{size:>10}  {row}")
                continue
            mine.append({"strategy": name, "tiles": size} | {k: row[k] for k in ("wall", "cpu", "peak", "private")})
            own, whole = row["private"] / 2**20, row["peak"] / 2**20
            print(f"{name:<12}{size:>10}{row['wall']:>9.1f}{row['cpu']:>9.1f}{own:>9.0f}{whole:>11.0f}", flush=True)
        if len(mine) > 1:
            slopes = [exponent([r["tiles"] for r in mine], [r[k] for r in mine]) for k in ("wall", "cpu")]
            print(f"{name:<12}{'exponent':>10}{slopes[0]:>9.2f}{slopes[1]:>9.2f}")
        rows += mine
    return rows


def compare(size: int, budget: int, folder: Path) -> list[dict[str, Any]]:
    """Ours and the peers on the same points."""
    points = tile_points(write_pool(folder, size))
    file = folder / f"points-{size}.npy"
    np.save(file, points)
    rows = []
    print(f"\n{size} tiles x {points.shape[1]}, budget {budget}; times and objective against ours of the same kind")
    print(f"{'':<22}{'wall s':>9}{'cpu s':>9}{'MiB':>8}  {'objective':<21}{'wall x':>8}{'cpu x':>8}{'ours/its':>10}")
    for match in MATCHES:
        base: dict[str, Any] = {}
        for name in (match.ours, *match.others):
            row = _room(name, size) or run(name, file, budget)
            if isinstance(row, str):
                print(f"{name:<22}  {row}")
                continue
            value = objectives(points, np.array(row["tiles"]))[match.objective]
            row |= {"size": size, "objective": match.objective, "value": value}
            base = base or row
            quotient = base["value"] / value if match.higher else value / base["value"]
            row |= {
                "wall_ratio": row["wall"] / base["wall"],
                "cpu_ratio": row["cpu"] / base["cpu"],
                "quality": quotient,
            }
            rows.append(row)
            print(
                f"{name:<22}{row['wall']:>9.2f}{row['cpu']:>9.2f}{row['peak'] / 2**20:>8.0f}  {match.objective:<11}"
                f"{value:<10.4f}{row['wall_ratio']:>8.1f}{row['cpu_ratio']:>8.1f}{quotient:>10.4f}",
                flush=True,
            )
    return rows


def _room(name: str, size: int) -> str:
    """Why a peer is not run here: it would take more memory than is free; empty where it may run."""
    free, need = available_memory(), NEEDS.get(name, 0) * size**2
    if free is None or need < 0.8 * free:
        return ""
    return f"needs about {need / GIB:.0f} GiB, {free / GIB:.0f} are free"


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale selection")
    parser.add_argument("--sizes", default="10000,100000,1000000", help="pools of our strategies; empty for none")
    parser.add_argument("--peers", default="20000", help="pools for us and the other libraries; empty for none")
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--strategies", default=",".join(STRATEGIES), help="which of ours on the pools of --sizes")
    parser.add_argument("--folder", type=Path, help="where pools are kept; 4.3 GB for a million tiles")
    parser.add_argument("--json", type=Path, help="also write all rows to this file")
    chosen = parser.parse_args(arguments)
    sizes, peers = ([int(n) for n in text.split(",") if n] for text in (chosen.sizes, chosen.peers))
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        rows = [row for size in peers for row in compare(size, chosen.budget, folder)]
        rows += grow(chosen.strategies.split(","), sizes, chosen.budget, folder) if sizes else []
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
