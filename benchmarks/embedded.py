"""Scores of the embedded backbone against its references: ``python -m benchmarks.embedded [--data DIR] [--quick]``.

Test splits are only read here. Classes are named and described as the package does by default.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aczerots.backbones.embedded import EmbeddedBackbone
from aczerots.datasets.base import Dataset, Split
from aczerots.datasets.folder import folder_dataset
from aczerots.datasets.phantom import phantom_dataset
from aczerots.taxonomy import IGNORE
from aczerots.text.descriptions import bundled_descriptions
from benchmarks.measures import Counts, Score, balanced_accuracy, bootstrap, confusion, iou, mean_iou
from benchmarks.systems import System, all_systems

PHANTOM_SEED = 20261
TILE = 224
STRIDE = 16

EBHI_WAYS: dict[str, Sequence[int]] = {
    "7-way": range(7),
    "6 lesions": range(-1, 6),
    "benign or malignant": (-1, 0, 0, 0, 1, 0, 1),
}
"""The 7-way task may answer stroma; malignant are high-grade neoplasia and adenocarcinoma."""


@dataclass(frozen=True)
class Tiles:
    """Tiles of a split: RGB uint8 [n, 3, 224, 224], label ids [n, 224, 224], number of the image of each."""

    images: Tensor
    labels: NDArray[np.uint8]
    image: NDArray[np.int64]
    names: tuple[str, ...]


def read(data: Dataset, split: Split, limit: int | None) -> Tiles:
    """All tiles of the first ``limit`` images spread over a split; pixels outside a tile's box are IGNORE."""
    slides = [s.slide.id for s in data.samples if s.split == split]
    if limit is not None and limit < len(slides):
        slides = slides[:: len(slides) // limit][:limit]
    chosen = {name: i for i, name in enumerate(slides)}
    pixels, labels, owner = [], [], []
    for tile in data.tiles(split, TILE):
        if tile.slide not in chosen:
            continue
        sample = data[tile.slide]
        pixels.append(sample.slide.read(tile.window, (TILE, TILE)))
        truth = np.full((TILE, TILE), IGNORE, dtype=np.uint8)
        truth[tile.inner] = sample.truth.read(tile.window, (TILE, TILE))[tile.inner]
        labels.append(truth)
        owner.append(chosen[tile.slide])
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    return Tiles(images, np.stack(labels), np.array(owner), data.taxonomy.names)


def words(names: Sequence[str], mode: str) -> list[list[str]]:
    """Sentences per class: ``name``, ``one`` description or ``all``."""
    if mode == "name":
        return [[n] for n in names]
    held = [list(bundled_descriptions(n) or (n,)) for n in names]
    return [d[:1] for d in held] if mode == "one" else held


def segmented(tiles: Tiles, scores: Tensor) -> Counts:
    """Counts per image [images, c, c] of scores [n, c, gh, gw] brought to pixels."""
    classes = len(tiles.names)
    out = np.zeros((int(tiles.image.max()) + 1, classes, classes), dtype=np.int64)
    for i, part in enumerate(scores.split(1)):
        pixels = F.interpolate(part, size=(TILE, TILE), mode="bilinear", align_corners=False)
        out[tiles.image[i]] += confusion(tiles.labels[i], pixels.argmax(1)[0].numpy(), classes)
    return out


def zero_shot(tiles: Tiles, aligned: Tensor, texts: Tensor) -> Counts:
    """Counts of the nearest text per cell."""
    return segmented(tiles, torch.einsum("bdhw,cd->bchw", aligned, texts))


def classified(tiles: Tiles, aligned: Tensor, texts: Tensor, groups: Sequence[int], kappa: float) -> Counts:
    """Counts [images, g, g] of images by the vote of their cells: the mean posterior over all classes.

    Args:
        tiles: Tiles whose image holds one class besides class 0.
        aligned: Unit embeddings [n, d, gh, gw].
        texts: Class vectors [c, d].
        groups: Group of each class, -1 where it may take cells but is no answer.
        kappa: Factor on the cosines.
    """
    size = max(groups) + 1
    out = np.zeros((int(tiles.image.max()) + 1, size, size), dtype=np.int64)
    posterior = (torch.einsum("bdhw,cd->bchw", aligned, texts) * kappa).softmax(1).mean((2, 3))
    for i in range(len(out)):
        mine = tiles.image == i
        votes = posterior[torch.from_numpy(mine)].mean(0)
        totals = [sum(float(v) for v, g in zip(votes, groups, strict=True) if g == k) for k in range(size)]
        labels = tiles.labels[mine]
        truth = np.bincount(labels[(labels != IGNORE) & (labels > 0)], minlength=len(groups)).argmax()
        out[i, groups[int(truth)], int(np.argmax(totals))] = 1
    return out


def probe(pool: Tiles, layers: Tensor, test: Tiles, other: Tensor, fraction: float) -> Score:
    """Class-balanced logistic regression on cells of a fraction of the pool's tiles, scored on pixels of the test."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    some = rng.permutation(len(layers))[: max(round(fraction * len(layers)), 2)]
    n = len(pool.names)
    planes = [
        F.avg_pool2d(torch.from_numpy((pool.labels[some] == c).astype(np.float32))[:, None], STRIDE) for c in range(n)
    ]
    held = torch.cat(planes, 1).permute(0, 2, 3, 1).reshape(-1, n).numpy()
    x = layers[some].permute(0, 2, 3, 1).flatten(0, 2).numpy()
    sure = held.max(1) > 0.5
    x, y = x[sure], held[sure].argmax(1)
    keep = rng.permutation(len(y))[:20000]
    mean, deviation = x[keep].mean(0), x[keep].std(0) + 1e-6
    model = LogisticRegression(C=0.003, max_iter=400, class_weight="balanced")
    model.fit((x[keep] - mean) / deviation, y[keep])
    z = (other.permute(0, 2, 3, 1).flatten(0, 2).numpy() - mean) / deviation
    values = model.decision_function(z)
    full = np.full((len(z), n), -1e3)
    if values.ndim == 1:
        values = np.stack([-values, values], 1)
    full[:, model.classes_] = values
    scores = torch.from_numpy(full).float().view(len(other), *other.shape[2:], n).permute(0, 3, 1, 2)
    return bootstrap(segmented(test, scores), mean_iou)


def chance(tiles: Tiles) -> Counts:
    """Counts of an answer drawn at random for every cell."""
    g = torch.Generator().manual_seed(0)
    side = TILE // STRIDE
    return segmented(tiles, torch.rand(len(tiles.images), len(tiles.names), side, side, generator=g))


def show(line: str, system: str, value: object) -> None:
    """One row of the report."""
    print(f"{line:<46} {system:<12} {value}", flush=True)


def segmentation(name: str, tiles: Tiles, systems: Sequence[System]) -> dict[str, Tensor]:
    """Zero-shot and description lines of a dataset; returns each system's layers."""
    layers = {}
    show(f"{name} zero-shot mIoU", "chance", bootstrap(chance(tiles), mean_iou))
    for system in systems:
        aligned, layers[system.name] = system.grids(tiles.images)
        counts = zero_shot(tiles, aligned, system.texts(tiles.names, words(tiles.names, "all")))
        show(f"{name} zero-shot mIoU", system.name, bootstrap(counts, mean_iou))
        for c, cls in enumerate(tiles.names):
            show(f"{name} from text alone: {cls}"[:46], system.name, bootstrap(counts, lambda k, c=c: float(iou(k)[c])))
        if system.name == "embedded":
            for mode in ("name", "one", "all"):
                other = zero_shot(tiles, aligned, system.texts(tiles.names, words(tiles.names, mode)))
                show(f"{name} words: {mode}", system.name, bootstrap(other, mean_iou))
    return layers


def classification(
    name: str, tiles: Tiles, systems: Sequence[System], ways: dict[str, Sequence[int]], kappa: float
) -> None:
    """Zero-shot tile classification lines."""
    grids = {system.name: system.grids(tiles.images)[0] for system in systems}
    for way, groups in ways.items():
        show(f"{name} {way} balanced accuracy", "chance", f"{1 / len({g for g in groups if g >= 0}):.3f}")
        for system in systems:
            texts = system.texts(tiles.names, words(tiles.names, "all"))
            counts = classified(tiles, grids[system.name], texts, groups, kappa)
            show(f"{name} {way} balanced accuracy", system.name, bootstrap(counts, balanced_accuracy))


def speed(quick: bool) -> None:
    """Throughput, size and load time."""
    start = time.perf_counter()
    backbone = EmbeddedBackbone()
    loaded = time.perf_counter() - start
    images = torch.randint(0, 256, (16 if quick else 64, 3, TILE, TILE), dtype=torch.uint8)
    backbone.encode_image(images[:8])
    start = time.perf_counter()
    backbone.encode_image(images)
    rate = len(images) / (time.perf_counter() - start)
    show("tiles per second", "embedded", f"{rate:.1f} on {torch.get_num_threads()} threads")
    file = Path(__file__).parents[1] / "src/aczerots/backbones/embedded/weights.safetensors"
    show("weights", "embedded", f"{file.stat().st_size / 1e6:.1f} MB, loaded in {loaded:.2f} s")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="a few images of each, to try the command")
    options = parser.parse_args()
    limit = 3 if options.quick else None
    systems, kappa = all_systems(), EmbeddedBackbone().info.logit_scale
    phantom = phantom_dataset(6 if options.quick else 60, 448, PHANTOM_SEED)
    segmentation("phantom", read(phantom, "test", limit), systems)
    luad = folder_dataset(options.data / "luad")
    pool, test = read(luad, "train", limit), read(luad, "test", limit)
    layers = segmentation("luad", test, systems)
    for system in systems:
        _, known = system.grids(pool.images)
        for fraction in (0.01, 0.1, 1.0):
            score = probe(pool, known, test, layers[system.name], fraction)
            show(f"luad linear probe mIoU, {fraction:.0%} of the pool", system.name, score)
    ebhi = read(folder_dataset(options.data / "ebhi"), "test", limit and 12)
    classification("ebhi", ebhi, systems, EBHI_WAYS, kappa)
    segmentation("ebhi", ebhi, systems)
    glas = read(folder_dataset(options.data / "glas"), "test", limit)
    classification("glas", glas, systems, {"benign or malignant": (-1, 0, 1)}, kappa)
    segmentation("glas", glas, systems)
    speed(options.quick)


if __name__ == "__main__":
    main()
