"""What 30,000 slides cost: GPU hours, processor hours, storage, network.

Measured here, on a small slide that is all tissue: processor seconds of the built-in backbone per window, of
everything around it per megapixel of map, and bytes that are written per megapixel. Counted: multiplications of a
ViT forward pass (12 N d^2 + 2 N^2 d multiply-adds per block of d numbers on N tokens; Dosovitskiy et al. 2021 give
17.6 G for B/16 at 224 pixels). Assumed, and options: peak and utilisation of the GPU (H100 SXM: 989 TFLOP/s dense in
bf16 by its data sheet; 35 % is what ViT-B reaches in a plain loop), share of tissue, size of a slide's file.
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

from aczerots.apply import predict_slides
from benchmarks.scale_pipeline import bare, windows_in_memory
from benchmarks.scale_slides import tissue_pattern, write_slide, zeroshot_model

SIDE = 2048


@dataclass(frozen=True)
class Model:
    """A backbone: what a window costs and what its grids take.

    Attributes:
        name: For the table.
        tile: Side of a window in pixels.
        stride: Pixels per cell.
        numbers: Of a cell, in the joint space and of the layers.
        gmacs: Giga multiply-adds per window; None is measured.
    """

    name: str
    tile: int
    stride: int
    numbers: int
    gmacs: float | None


def vit_gmacs(pixels: int, patch: int = 16, width: int = 768, blocks: int = 12) -> float:
    """Giga multiply-adds of a forward pass."""
    tokens = (pixels // patch) ** 2 + 1
    return blocks * (12 * tokens * width**2 + 2 * tokens**2 * width) / 1e9


@dataclass(frozen=True)
class Units:
    """Measured on this machine.

    Attributes:
        window_s: Processor seconds of backbone and head per window of the built-in backbone.
        around_s: Processor seconds of all else per megapixel of map.
        map_mb: Megabytes that are written per megapixel of map.
        gmacs: Of the built-in backbone per window.
    """

    window_s: float
    around_s: float
    map_mb: float
    gmacs: float


def measure() -> Units:
    """Unit costs from one small slide, by processor time of all threads."""
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = zeroshot_model(folder / "model.safetensors")
        slide = write_slide(folder / "slide.svs", SIDE, tissue_pattern(SIDE))
        segmenter, batches = windows_in_memory(model, slide)
        windows = sum(len(b) for b in batches)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            segmenter.backbone.encode_image(batches[0])
        gmacs = counter.get_total_flops() / 2e9 / len(batches[0])
        bare(segmenter, batches[:2])
        started = time.process_time()
        bare(segmenter, batches)
        forward = time.process_time() - started
        started = time.process_time()
        predict_slides(model, [slide], folder / "out")
        whole = time.process_time() - started
        size = sum(p.stat().st_size for p in (folder / "out").rglob("*") if p.is_file())
    pixels = SIDE**2 / 1e6
    return Units(forward / windows, max(0.0, whole - forward) / pixels, size / 1e6 / pixels, gmacs)


def row(model: Model, units: Units, options: argparse.Namespace) -> dict[str, object]:
    """Cost of all slides with one backbone."""
    side = options.side * options.scan_mpp / options.mpp
    tissue = options.tissue * side**2
    windows = tissue / (model.tile * (1 - options.overlap)) ** 2
    gmacs = units.gmacs if model.gmacs is None else model.gmacs
    gpu_s = windows * 2 * gmacs * 1e9 / (options.tflops * 1e12 * options.utilisation)
    cpu_forward_s = windows * units.window_s * gmacs / units.gmacs
    around_s = units.around_s * tissue / 1e6 * (options.mpp / options.scan_mpp) ** options.reading
    grid_mb = 2 * model.numbers * (side / model.stride) ** 2 * options.tissue / 1e6
    n = options.slides
    return {
        "backbone": model.name,
        "windows_per_slide": round(windows),
        "gmacs_per_window": round(gmacs, 1),
        "gpu_hours": round(n * gpu_s / 3600),
        "cpu_core_hours_without_gpu": round(n * (cpu_forward_s + around_s) / 3600),
        "cpu_core_hours_beside_gpu": round(n * around_s / 3600),
        "cores_per_gpu": round(around_s / gpu_s, 1),
        "maps_tb": round(n * units.map_mb * tissue / 1e12, 2),
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
    parser.add_argument("--tissue", type=float, default=0.2, help="share of a slide that is tissue")
    parser.add_argument("--overlap", type=float, default=0.25)
    parser.add_argument("--slide-gb", type=float, default=1.5, help="size of a slide's file")
    parser.add_argument("--tflops", type=float, default=989.0, help="peak of the GPU")
    parser.add_argument("--utilisation", type=float, default=0.35, help="share of the peak that is reached")
    parser.add_argument("--reading", type=float, default=1.0, help="how reading grows with pixels read per map pixel")
    options = parser.parse_args(arguments)
    units = measure()
    print(json.dumps({name: round(value, 4) for name, value in asdict(units).items()}), flush=True)
    models = (
        Model("built-in", 224, 16, 256, None),
        Model("CLIP ViT-B/16", 224, 16, 512 + 768, vit_gmacs(224)),
        Model("CONCH ViT-B/16, 448 px", 448, 16, 512 + 768, vit_gmacs(448)),
    )
    for model in models:
        print(json.dumps(row(model, units, options)), flush=True)


if __name__ == "__main__":
    main()
