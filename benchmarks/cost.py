"""What 30,000 slides cost: GPU hours, processor hours, storage, network.

Measured here, on two generated slides that are all tissue, scanned at 0.25 micrometres per pixel and read at 0.5:
processor seconds of the built-in backbone per window, of everything around it per slide and per megapixel of map,
bytes that are written of both kinds, and the speed of a matrix product of a ViT's shapes on a core. Counted:
multiply-adds of a ViT's forward pass, 12 N d^2 + 2 N^2 d per block of d numbers on N tokens (17.6 G for B/16 at 224
pixels; Dosovitskiy et al. 2021). The built-in backbone is made of filters, not of products; its time on a GPU cannot
be counted so. Assumed, and options: peak and utilisation of the GPU (H100 SXM: 989 TFLOP/s dense in bf16 by its data
sheet), fraction of tissue, size of a slide's file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from aczerots.predict.slides import predict_slides
from aczerots.slides.windows import TIFF_TILE
from benchmarks.scale_pipeline import bare, windows_in_memory
from benchmarks.scale_slides import tissue_pattern, write_slide, zeroshot_model

SIDES = (2048, 6144)
"""Of the slides that are measured, level-0 pixels at 0.25 micrometres."""


@dataclass(frozen=True)
class Model:
    """A backbone: what a window costs and what its features take.

    Attributes:
        name: For the table.
        tile: Side of a window in pixels.
        stride: Pixels per feature cell.
        numbers: Of a feature cell, in the joint space and of the layers.
        gmacs: Giga multiply-adds per window; None for the built-in backbone, which is measured.
        step: Pixels from one window to the next; None follows the overlap.
    """

    name: str
    tile: int
    stride: int
    numbers: int
    gmacs: float | None
    step: int | None = None


def vit_gmacs(pixels: int, patch: int = 16, width: int = 768, blocks: int = 12) -> float:
    """Giga multiply-adds of a forward pass."""
    tokens = (pixels // patch) ** 2 + 1
    return blocks * (12 * tokens * width**2 + 2 * tokens**2 * width) / 1e9


@dataclass(frozen=True)
class Units:
    """Measured on this machine.

    Attributes:
        window_s: Processor seconds of backbone and head per window of the built-in backbone.
        slide_s: Processor seconds of all else per slide.
        mpx_s: The same per megapixel of map that is tissue.
        slide_mb: Megabytes that are written per slide.
        mpx_mb: The same per megapixel.
        gflops: Of a processor core in products of a ViT's shapes, float32.
    """

    window_s: float
    slide_s: float
    mpx_s: float
    slide_mb: float
    mpx_mb: float
    gflops: float


def measure() -> Units:
    """Unit costs from two small slides, by processor time of all threads."""
    torch.set_num_threads(1)
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, pattern = zeroshot_model(folder / "model.safetensors"), tissue_pattern(2048)
        for side in SIDES:
            slide = write_slide(folder / f"slide{side}.svs", side, pattern, mpp=0.25)
            found.append(_measured(model, slide, folder / f"out{side}"))
    (window_s, small_s, small_mb), (_, large_s, large_mb) = found
    small, large = ((side / 2) ** 2 / 1e6 for side in SIDES)
    mpx_s, mpx_mb = (large_s - small_s) / (large - small), (large_mb - small_mb) / (large - small)
    slide_s, slide_mb = max(0.0, small_s - mpx_s * small), max(0.0, small_mb - mpx_mb * small)
    return Units(window_s, slide_s, mpx_s, slide_mb, mpx_mb, _gflops())


def _measured(model: Path, slide: Path, out: Path) -> tuple[float, float, float]:
    """(processor seconds per window, of all else, megabytes written)."""
    segmenter, batches = windows_in_memory(model, slide)
    bare(segmenter, batches[:2])
    started = time.process_time()
    bare(segmenter, batches)
    forward = time.process_time() - started
    started = time.process_time()
    predict_slides(model, [slide], out)
    whole = time.process_time() - started
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    return forward / sum(len(b) for b in batches), whole - forward, size / 1e6


def _gflops() -> float:
    """Speed of the largest product of a ViT-B block on one core, for a batch of 8 windows of 197 tokens."""
    tokens, weights = torch.randn(8 * 197, 768), torch.randn(768, 3072)
    tokens @ weights
    started = time.process_time()
    for _ in range(5):
        tokens @ weights
    return 5 * 2 * tokens.numel() * 3072 / (time.process_time() - started) / 1e9


def row(model: Model, units: Units, options: argparse.Namespace) -> dict[str, object]:
    """Cost of all slides with one backbone."""
    side = options.side * options.scan_mpp / options.mpp
    tissue = options.tissue * side**2
    windows = tissue / (model.step or model.tile * (1 - options.overlap)) ** 2
    gpu_s = windows * 2 * (model.gmacs or 0.0) * 1e9 / (options.tflops * 1e12 * options.utilisation)
    cpu_forward_s = windows * (units.window_s if model.gmacs is None else 2 * model.gmacs / units.gflops)
    around_s = units.slide_s + units.mpx_s * tissue / 1e6
    map_mb = units.slide_mb + units.mpx_mb * tissue / 1e6
    grid_mb = 2 * model.numbers * (side / model.stride) ** 2 * options.tissue / 1e6
    n = options.slides
    return {
        "backbone": model.name,
        "windows_per_slide": round(windows),
        "gmacs_per_window": None if model.gmacs is None else round(model.gmacs, 1),
        "gpu_hours": round(n * gpu_s / 3600) if gpu_s else None,
        "cpu_core_hours_without_gpu": round(n * (cpu_forward_s + around_s) / 3600),
        "cpu_core_hours_beside_gpu": round(n * around_s / 3600),
        "cores_per_gpu": round(around_s / gpu_s, 1) if gpu_s else None,
        "maps_tb": round(n * map_mb / 1e6, 2),
        "grids_tb": round(n * grid_mb / 1e6, 1),
        "network_tb": round(n * options.slide_gb / 1e3, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the unit costs and a line of JSON per backbone."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slides", type=int, default=30_000)
    parser.add_argument("--side", type=int, default=100_000, help="pixels at level 0")
    parser.add_argument("--scan-mpp", type=float, default=0.25, help="micrometres per pixel of the slides")
    parser.add_argument("--mpp", type=float, default=0.5, help="micrometres per pixel that models read")
    parser.add_argument("--tissue", type=float, default=0.2, help="fraction of a slide that is tissue")
    parser.add_argument("--overlap", type=float, default=0.25)
    parser.add_argument("--slide-gb", type=float, default=1.5, help="size of a slide's file")
    parser.add_argument("--tflops", type=float, default=989.0, help="peak of the GPU")
    parser.add_argument("--utilisation", type=float, default=0.35, help="fraction of the peak that is reached")
    options = parser.parse_args(arguments)
    units = measure()
    print(json.dumps({name: round(value, 4) for name, value in asdict(units).items()}), flush=True)
    models = (
        Model("built-in", 704, 16, 64 + 160, None, TIFF_TILE),
        Model("CLIP ViT-B/16", 224, 16, 512 + 768, vit_gmacs(224)),
        Model("CONCH ViT-B/16, 448 px", 448, 16, 512 + 768, vit_gmacs(448)),
    )
    for model in models:
        print(json.dumps(row(model, units, options)), flush=True)


if __name__ == "__main__":
    main()
