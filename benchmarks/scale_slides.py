"""Slides, models and figures for the benchmarks of scale."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aczerots.backbones.embedded import load_embedded
from aczerots.datasets.phantom.classes import phantom_taxonomy
from aczerots.datasets.phantom.slide import SlideRecipe, generate
from aczerots.prozs.checkpoint import ModelCard, save_model
from aczerots.prozs.presets import build_model, locate_preset
from aczerots.text.descriptions import describe_taxonomy
from aczerots.text.prototypes import text_prototypes

TILE = 512


def zeroshot_model(path: Path, tile_size: int = 224) -> Path:
    """A zero-shot model of the built-in backbone as a file; a fitted one costs the same."""
    backbone = load_embedded()
    taxonomy = describe_taxonomy(phantom_taxonomy(), "descriptions")
    prototypes = text_prototypes(backbone, taxonomy)
    model = build_model(locate_preset("zeroshot"), backbone.info, prototypes, torch.from_numpy(taxonomy.seen), 0)
    facts = {"backbone": backbone.info, "backbone_hash": backbone.info.hash, "tile_size": tile_size, "mpp": 0.5}
    save_model(path, model, ModelCard(preset="zeroshot", taxonomy=taxonomy, **facts))
    return path


def tissue_pattern(side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Phantom tissue, RGB uint8 [side, side, 3] at 0.5 micrometres per pixel."""
    return generate(SlideRecipe(seed, 3, (side, side), 0.5))[0]


def write_slide(
    path: Path, side: int, pattern: NDArray[np.uint8], mpp: float = 0.5, island: float | None = None
) -> Path:
    """A slide as a scanner writes it: tiled, JPEG, with levels 4 and 16; memory does not follow its side.

    Args:
        path: The file.
        side: Width and height in pixels.
        pattern: Tissue that is repeated, RGB uint8 [n, n, 3].
        mpp: Micrometres per pixel.
        island: Share of the side that a square of tissue in the middle has, glass around it; None is all tissue.
    """
    import tifffile

    text = f"Aperio Image Library v11.2.1\n{side}x{side} ({TILE}x{TILE}) JPEG|AppMag = 20|MPP = {mpp}"
    with tifffile.TiffWriter(path, bigtiff=side > 30000) as file:
        for factor in (1, 4, 16):
            shown = pattern if factor == 1 else _reduced(pattern, factor)
            extent = side // factor
            file.write(
                _tiles(extent, shown, island),
                shape=(extent, extent, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(1, 1),
                compression="jpeg",
                subfiletype=0 if factor == 1 else 1,
                description=text if factor == 1 else f"{text} -> {extent}x{extent}",
                metadata=None,
            )
    return path


def _reduced(pattern: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    n = len(pattern) // factor
    blocks = pattern[: n * factor, : n * factor].reshape(n, factor, n, factor, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def _tiles(extent: int, pattern: NDArray[np.uint8], island: float | None) -> Iterator[bytes]:
    """Encoded tiles of a level in reading order; equal ones are encoded once."""
    import imagecodecs

    @functools.cache
    def encoded(row: int, column: int, down: tuple[int, int], across: tuple[int, int]) -> bytes:
        tile = np.full((TILE, TILE, 3), 243, dtype=np.uint8)
        rows, columns = (np.arange(n * TILE, (n + 1) * TILE) % len(pattern) for n in (row, column))
        inside = slice(*down), slice(*across)
        tile[inside] = pattern[np.ix_(rows, columns)][inside]
        data: bytes = imagecodecs.jpeg8_encode(
            tile, level=80, colorspace="RGB", outcolorspace="YCBCR", subsampling="444"
        )
        return data

    half = extent / 2 * (1 if island is None else island)
    low, high = round(extent / 2 - half), round(extent / 2 + half)
    count, period = -(-extent // TILE), len(pattern) // math.gcd(len(pattern), TILE)
    cuts = [_cut(low - n * TILE, high - n * TILE) for n in range(count)]
    for row in range(count):
        for column in range(count):
            glass = (0, 0) in {cuts[row], cuts[column]}
            place = (0, 0, (0, 0), (0, 0)) if glass else (row % period, column % period, cuts[row], cuts[column])
            yield encoded(*place)


def _cut(low: int, high: int) -> tuple[int, int]:
    """Which pixels of a tile lie between two bounds, (0, 0) for none."""
    first, stop = max(0, low), min(TILE, high)
    return (first, stop) if first < stop else (0, 0)


def peak_memory() -> int:
    """Bytes that this process has had in memory at most.

    Not from ``getrusage``, whose maximum a new process takes over from the one that started it.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def free_cores() -> float:
    """Cores that others leave, by the load of the last minute; timings on a busy machine mean little."""
    return (os.cpu_count() or 1) - os.getloadavg()[0]
