"""Variants of the criteria that have no name of their own: ``python -m benchmarks.criterion --data DATA``.

Each variant draws 5 % of the pool a round from the zero-shot answer on, up to 30 %, as the experiments do; its hIoU
is taken over the fraction drawn, and over the annotation cost (outlines of what the expert draws), up to where the
cheapest variant of a seed ends. Nothing was chosen by these numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from aczerots.backbones.locate import locate_backbone
from aczerots.engine.threads import use_threads
from aczerots.prozs.presets import PRESETS
from aczerots.selection.aczerots import AczerotsStrategy
from aczerots.selection.annotation_cost import annotation_cost
from aczerots.selection.base import Strategy, choose
from aczerots.selection.paper import PaperStrategy
from aczerots.selection.random import RandomStrategy
from aczerots.text.descriptions import describe_taxonomy
from benchmarks.ablation import SETTINGS
from benchmarks.trials import Trial, open_trial, plain, signed

VARIANTS: dict[str, Callable[[], Strategy]] = {
    "aczerots": AczerotsStrategy,
    "random": RandomStrategy,
    "per cost": partial(AczerotsStrategy, per_cost=True),
    "9 regions per tile": partial(AczerotsStrategy, per_tile=9),
    "64 regions per tile": partial(AczerotsStrategy, per_tile=64),
    "8 axes": partial(AczerotsStrategy, axes=8),
    "32 axes": partial(AczerotsStrategy, axes=32),
    "paper": PaperStrategy,
    "paper, all feature cells": partial(PaperStrategy, reservoir=10**9),
    "paper, 500 feature cells": partial(PaperStrategy, reservoir=500),
}
ROUNDS, FRACTION = 6, 0.05


@dataclass(frozen=True)
class Curve:
    """One run: cost so far and hIoU after each round, round 0 first; tiles grow by the same fraction each round."""

    dataset: str
    unseen: str
    variant: str
    seed: int
    cost: tuple[float, ...]
    hiou: tuple[float, ...]


def run(trial: Trial, strategy: Strategy, seed: int) -> tuple[list[float], list[float]]:
    """(cost so far, hIoU) after each round."""
    tiles, taxonomy = trial.pool.tiles, trial.pool.taxonomy
    model = trial.pool.untrained(PRESETS["zeroshot"], seed)
    drawn: dict[int, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]] = {}
    cost, hiou = [0.0], [trial.measure(model).hiou]
    for number in range(1, ROUNDS + 1):
        pool = trial.pool.view(model, drawn)
        budget = max(1, round(FRACTION * len(tiles)))
        chosen = choose(strategy, pool, budget, np.random.default_rng([seed, number])).tiles.tolist()
        drawn |= {i: trial.draw(i) for i in chosen}
        spent = 0.0
        for i in chosen:
            inside = np.zeros(drawn[i].shape, dtype=bool)
            inside[tiles[i].inner] = True
            spent += float(annotation_cost(drawn[i][None], inside[None], taxonomy.seen)[0])
        cost.append(cost[-1] + spent)
        model = trial.pool.train(PRESETS["prozs"], dict(sorted(drawn.items())), seed)
        hiou.append(trial.measure(model).hiou)
    return cost, hiou


def area(x: Sequence[float], y: Sequence[float], end: float) -> float:
    """Mean of a curve from 0 to ``end``, straight between its points."""
    known = [v for v in x if v < end]
    points = [*known, end]
    values = np.interp(points, x, y)
    return float(np.trapezoid(values, points) / end)


def table(curves: Sequence[Curve]) -> str:
    """Markdown; differences are to the first variant, paired by seed, means over the sets of unseen classes."""
    lines = [
        "| dataset | variant | area over tiles | difference | cost per tile | area over cost | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for dataset in dict.fromkeys(c.dataset for c in curves):
        mine = [c for c in curves if c.dataset == dataset]
        names = list(dict.fromkeys(c.variant for c in mine))
        found = {name: _areas([c for c in mine if c.variant == name], mine) for name in names}
        first = found[names[0]]
        for name, (tiles, cost, spent) in found.items():
            gaps = ("", "") if name == names[0] else (signed(tiles, first[0]), signed(cost, first[1]))
            ratio = np.mean(spent) / np.mean(first[2])
            columns = (dataset, name, plain(tiles), gaps[0], f"{ratio:.2f}", plain(cost), gaps[1])
            lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def _areas(curves: Sequence[Curve], peers: Sequence[Curve]) -> tuple[list[float], list[float], list[float]]:
    """By seed, means over the sets: area over tiles, area over cost, cost in all."""
    by_seed: dict[int, list[tuple[float, float, float]]] = {}
    for c in curves:
        end = min(p.cost[-1] for p in peers if (p.unseen, p.seed) == (c.unseen, c.seed))
        rounds = list(range(len(c.hiou)))
        found = area(rounds, c.hiou, rounds[-1]), area(c.cost, c.hiou, end), c.cost[-1]
        by_seed.setdefault(c.seed, []).append(found)
    means = [np.mean(by_seed[seed], axis=0) for seed in sorted(by_seed)]
    tiles, cost, spent = ([float(m[k]) for m in means] for k in range(3))
    return tiles, cost, spent


@use_threads(1)
def main() -> None:
    """Run what the command line asks for, print the table and write the curves."""
    parser = argparse.ArgumentParser(description="Variants of the selection criteria.")
    parser.add_argument("--data", default="../shared/data", help="folder with luad, ebhi and glas")
    parser.add_argument("--datasets", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--sets", type=int, default=9, help="sets of unseen classes per dataset, the first ones")
    parser.add_argument("--out", type=Path, default=Path("criterion.json"))
    options = parser.parse_args()
    backbone = locate_backbone("embedded")
    curves: list[Curve] = []
    for name in options.datasets:
        trial = open_trial(SETTINGS[name][0].format(data=options.data), backbone)
        for unseen in SETTINGS[name][1][: options.sets]:
            said = describe_taxonomy(trial.evaluation.dataset.taxonomy.with_unseen(unseen), "descriptions")
            described = trial.under(said)
            for word in options.variants:
                for seed in range(options.seeds):
                    cost, hiou = run(described, VARIANTS[word](), seed)
                    curves.append(Curve(name, "+".join(unseen), word, seed, tuple(cost), tuple(hiou)))
                sys.stderr.write(f"{name} {', '.join(unseen)}, {word}: {np.mean(curves[-1].hiou):.3f}\n")
                sys.stderr.flush()
                options.out.write_text(json.dumps([vars(c) for c in curves], indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(curves) + "\n")


if __name__ == "__main__":
    main()
