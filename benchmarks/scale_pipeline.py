"""How much of the time from slide to files is the model: against the bare forward pass of the same windows.

``bare`` is the backbone and head alone, in batches as the pipeline has them, on the pixels of the slide's windows
that lie in memory. ``pipeline`` is ``predict_slides`` in this process: opening, tissue, reading, decoding, blending,
painting, encoding, pyramids, polygons, overlay. ``processes`` is the same with a process per core. All are timed in
turns in one run and compared by medians, by the wall clock and by the processor's: only the latter means something
on a machine that is busy with other things, and only the former shows what is done meanwhile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from aczerots.backbones.loader import read_tiles
from aczerots.engine.local import ProcessEngine
from aczerots.predict.features import window_batch
from aczerots.predict.segmenter import load_segmenter
from aczerots.predict.slide_map import MapOptions
from aczerots.predict.slides import predict_slides
from aczerots.predict.windows import slide_backbone
from aczerots.slides.open import open_slide
from aczerots.slides.tissue import find_tissue
from aczerots.storage.machine import cores
from benchmarks.scale_slides import free_cores, tissue_pattern, write_slide, zeroshot_model


def windows_in_memory(model: Path, slide: Path) -> tuple[Any, list[torch.Tensor]]:
    """(segmenter, batches of pixels RGB uint8 [b, 3, tile, tile]) of every window with tissue, each once."""
    segmenter, opened = load_segmenter(model), open_slide(slide)
    plan, tissue = segmenter.plan(opened), find_tissue(opened)
    x, y = plan.lines
    places = [plan.window(i, j) for j in range(y.count) for i in range(x.count)]
    tiles = [t for t in places if tissue.any(t.box)]
    segmenter.backbone = slide_backbone(segmenter.backbone, opened, plan, tissue)
    number = window_batch(segmenter.backbone, tiles[0].size, plan.rim)
    batches = [tiles[i : i + number] for i in range(0, len(tiles), number)]
    return segmenter, [read_tiles(b, {opened.id: opened}) for b in batches]


@torch.no_grad()
def bare(segmenter: Any, batches: Sequence[torch.Tensor]) -> tuple[float, float]:
    """(seconds, processor seconds) of the forward pass of backbone and head."""
    started = time.perf_counter(), time.process_time()
    for batch in batches:
        segmenter.model(segmenter.backbone.encode_image(batch))
    return time.perf_counter() - started[0], time.process_time() - started[1]


def pipeline(model: Path, slide: Path, engine: ProcessEngine | None, options: MapOptions) -> tuple[float, float]:
    """(seconds, processor seconds of this process) from slide to files."""
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter(), time.process_time()
        rows, failures = predict_slides(model, [slide], out, engine=engine, options=options)
        assert rows
        assert not failures
        return time.perf_counter() - started[0], time.process_time() - started[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=8192, help="pixels of the slide, all of it tissue")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunk", type=int, help="map pixels of a chunk; default what memory allows")
    parser.add_argument("--no-processes", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        model = zeroshot_model(Path(folder) / "model.safetensors")
        slide = write_slide(Path(folder) / "slide.svs", options.side, tissue_pattern(2048))
        segmenter, batches = windows_in_memory(model, slide)
        bare(segmenter, batches[:4])
        chosen = MapOptions(chunk=options.chunk)
        times: dict[str, list[tuple[float, float]]] = {"bare": [], "pipeline": [], "processes": []}
        for _ in range(options.rounds):
            times["bare"].append(bare(segmenter, batches))
            times["pipeline"].append(pipeline(model, slide, None, chosen))
            if not options.no_processes:
                engine = ProcessEngine(["cpu"] * cores())
                times["processes"].append(pipeline(model, slide, engine, chosen))
    wall, work = ({k: statistics.median(t[i] for t in v) for k, v in times.items() if v} for i in (0, 1))
    windows = sum(len(b) for b in batches)
    row = {"side": options.side, "windows": windows, "threads": torch.get_num_threads()}
    row |= {f"{name}_s": round(value, 2) for name, value in wall.items()}
    row |= {f"{name}_ratio": round(wall["bare"] / value, 3) for name, value in wall.items() if name != "bare"}
    row |= {"processor_ratio": round(work["bare"] / work["pipeline"], 3)}
    row |= {"bare_windows_per_core_second": round(windows / work["bare"], 1), "free_cores": round(free_cores(), 1)}
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
