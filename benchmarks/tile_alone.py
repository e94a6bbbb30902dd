"""What it matters that windows overlap: metrics of tiles labelled alone against those of blended windows.

The backbone sees the surroundings of a pixel only as far as its tile reaches; where windows overlap, a pixel near the
border of one lies farther inside another. Models are fitted to a quarter of the pool, drawn at random.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from aczerots.backbones.cache import FeatureStore
from aczerots.backbones.locate import locate_backbone
from aczerots.engine.threads import use_threads
from aczerots.evaluate import ConfusionMatrix, Metrics
from aczerots.loop.expert import read_truth
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import PRESETS
from aczerots.slides.base import Tile
from aczerots.text.descriptions import describe_taxonomy
from benchmarks.trials import TILE, Trial, open_trial, plain, signed

SETTINGS = {
    "luad": ("folder:{data}/luad", "normal lung tissue"),
    "glas": ("folder:{data}/glas", "malignant colonic gland"),
    "phantom": ("phantom:24", "necrosis"),
}
"""Dataset locator and the class that nobody draws."""


@torch.no_grad()
def alone(model: ProZS, store: FeatureStore, tiles: Sequence[Tile]) -> Iterator[tuple[Tile, NDArray[np.uint8]]]:
    """Each tile with its label ids uint8 [rows, columns] inside its box, from the features of that tile only."""
    for i, tile in enumerate(tiles):
        scores = F.interpolate(model(store[[i]]), size=(tile.size, tile.size), mode="bilinear", align_corners=False)
        yield tile, scores[0].argmax(dim=0).byte().numpy()[tile.inner]


def measure_alone(trial: Trial, model: ProZS) -> Metrics:
    """Metrics on the test part, tile by tile."""
    dataset, taxonomy = trial.evaluation.dataset, trial.pool.taxonomy
    tiles = dataset.tiles("test", TILE)
    store = FeatureStore(tiles, trial.pool.slides, trial.pool.backbone, None)
    matrix = ConfusionMatrix(len(taxonomy))
    for tile, said in alone(model, store, tiles):
        matrix.add(read_truth(dataset[tile.slide].truth, tile)[tile.inner], said)
    return matrix.metrics(taxonomy)


@use_threads(1)
def main() -> None:
    """Run what the command line asks for and print the table."""
    parser = argparse.ArgumentParser(description="Tiles alone against blended windows.")
    parser.add_argument("--data", default="../shared/data", help="folder with luad and glas")
    parser.add_argument("--datasets", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0")
    options = parser.parse_args()
    lines = ["| dataset | metric | tiles alone | blended windows | difference |", "|---|---|---|---|---|"]
    for name in options.datasets:
        locator, unseen = SETTINGS[name]
        trial = open_trial(locator.format(data=options.data), locate_backbone("embedded"))
        named = describe_taxonomy(trial.evaluation.dataset.taxonomy.with_unseen([unseen]), "descriptions")
        trial, count, pairs = trial.under(named), len(trial.pool.tiles), []
        for seed in range(options.seeds):
            drawn = np.random.default_rng([seed, count]).permutation(count)[: max(1, round(count / 4))]
            masks = {int(i): trial.draw(int(i)) for i in sorted(drawn)}
            model = trial.pool.train(PRESETS["prozs"], masks, seed)
            pairs.append((measure_alone(trial, model), trial.measure(model)))
        for metric in ("pacc", "miou_seen", "miou_unseen", "hiou"):
            first, second = ([getattr(pair[k], metric) for pair in pairs] for k in range(2))
            lines.append(f"| {name} | {metric} | {plain(first)} | {plain(second)} | {signed(second, first)} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
