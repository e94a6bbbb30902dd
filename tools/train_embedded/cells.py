"""Training cells: measurements of real, phantom and drawn tiles with what may be said about each cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aczerots.backbones.embedded.backbone import STRIDE, pooled
from tools.train_embedded import synthetic
from tools.train_embedded.data import TILE, Source, crops, restain

Say = Callable[[str], None]
SIDE = TILE // STRIDE

PHANTOM_NAMES = (
    "tumor nests",
    "stroma",
    "lymphocytes",
    "necrosis",
    "adipose tissue",
    "normal glands",
    "smooth muscle",
    "blood",
    "background",
)
"""Names in the profile table of the phantom's classes, in their order."""

PHANTOM_SEED = 4001
"""Far from the seeds that benchmarks use."""


@dataclass(frozen=True)
class RealCells:
    """Cells of real tiles.

    Attributes:
        views: Float16 [v, tiles, cells, m]; view 0 is the image as it is, the others are restained.
        source: Number of the source of each tile, int [tiles].
        mixes: Per source, name in the profile table to expected fraction.
        names: Short name of each source.
    """

    views: Tensor
    source: Tensor
    mixes: tuple[dict[str, float], ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class DrawnCells:
    """Cells of drawn tiles, whose tissue is known.

    Attributes:
        views: Float16 [v, tiles, cells, m], as in :class:`RealCells`.
        truth: Float [tiles, cells, kinds], fraction of each kind in the cell.
        names: Per kind, the names in the profile table that fit it.
    """

    views: Tensor
    truth: Tensor
    names: tuple[tuple[str, ...], ...]


@torch.no_grad()
def _measured(tiles: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Float16 [tiles, cells, m]."""
    pixels = torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2)
    return pooled(pixels).flatten(2).transpose(1, 2).half()


def restained_views(tiles: Iterable[NDArray[np.uint8]], variants: int, rng: np.random.Generator) -> Tensor:
    """All tiles as they are and restained ``variants`` times: float16 [1 + variants, tiles, cells, m]."""
    parts = []
    held = list(tiles)
    for start in range(0, len(held), 8):
        group = held[start : start + 8]
        views = [group, *([restain(tile, rng) for tile in group] for _ in range(variants))]
        parts.append(torch.stack([_measured(view) for view in views]))
    return torch.cat(parts, 1)


def real_cells(sources: Sequence[Source], count: int, rng: np.random.Generator, say: Say) -> RealCells:
    """Measure about ``count`` crops of every source, more of those that show several tissues."""
    more = {"luad": 3.0, "her2st": 1.5, "lung_fields": 1.3, "skin": 0.8}
    views, number = [], []
    for i, source in enumerate(sources):
        n = max(int(count * more.get(source.name, 1.0)), 1)
        views.append(restained_views(crops(source, n, rng), 2, rng))
        number += [i] * n
        say(f"measured {n} tiles of {source.name}")
    mixes, names = tuple(s.tissues for s in sources), tuple(s.name for s in sources)
    return RealCells(torch.cat(views, 1), torch.tensor(number), mixes, names)


def _fractions(labels: NDArray[np.integer], kinds: int) -> Tensor:
    """Share of each kind per cell, float [tiles, cells, kinds], of label maps [tiles, h, w]."""
    maps = torch.from_numpy(labels.astype(np.int64))
    planes = [F.avg_pool2d((maps == k).float()[:, None], STRIDE)[:, 0] for k in range(kinds)]
    return torch.stack(planes, -1).flatten(1, 2)


def phantom_cells(count: int, rng: np.random.Generator, say: Say, seed: int = PHANTOM_SEED) -> DrawnCells:
    """Measure ``count`` phantom slides of 448 pixels, four tiles each, at 0.4-1.0 um per pixel."""
    from aczerots.datasets.phantom.slide import SlideRecipe, generate

    tiles, labels = [], []
    for i in range(count):
        image, truth = generate(SlideRecipe(seed, i, (2 * TILE, 2 * TILE), float(rng.uniform(0.4, 1.0))))
        for y in (0, TILE):
            for x in (0, TILE):
                tiles.append(image[y : y + TILE, x : x + TILE])
                labels.append(truth[y : y + TILE, x : x + TILE])
    views = restained_views(tiles, 1, rng)
    say(f"measured {len(tiles)} phantom tiles")
    return DrawnCells(views, _fractions(np.stack(labels), len(PHANTOM_NAMES)), tuple((n,) for n in PHANTOM_NAMES))


def synthetic_cells(count: int, rng: np.random.Generator, say: Say) -> DrawnCells:
    """Measure ``count`` drawn tiles of :mod:`synthetic`."""
    drawn = [synthetic.tile(rng) for _ in range(count)]
    views = restained_views([image for image, _ in drawn], 1, rng)
    say(f"measured {count} drawn tiles")
    names = tuple(names for _, names in synthetic.PAINTERS.values())
    return DrawnCells(views, _fractions(np.stack([labels for _, labels in drawn]), len(names)), names)
