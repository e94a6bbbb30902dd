"""How much it matters where windows lie: agreement of maps whose windows were moved.

A model is fitted to half of a pool of phantoms. Each slide, a phantom and whatever ``--slides`` names, is segmented
with its windows where they are, moved by whole feature cells, and moved by parts of one. What is printed is the
fraction of pixels whose class is the same, 112 pixels from the rim of the slide and beyond, of all pixels and of
those that are farther than 8 pixels from a border between classes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from aczerots.backbones.locate import locate_backbone
from aczerots.datasets.phantom.slide import SlideRecipe, generate
from aczerots.predict.blend import box_scores
from aczerots.predict.segmenter import Segmenter
from aczerots.prozs.presets import locate_preset
from aczerots.slides.base import Slide
from aczerots.slides.image import ArraySlide
from aczerots.slides.open import open_slide
from aczerots.slides.tissue import everything, find_tissue
from aczerots.slides.windows import OVERLAP
from benchmarks.trials import open_trial

WHOLE = ((64, 80), (16, 32), (256, 272))
PARTS = ((7, 9), (8, 8))
"""Pixels of the map; a feature cell has 16."""


def fitted(pool: str) -> Segmenter:
    """A segmenter fitted to every second tile of a pool of phantoms."""
    trial = open_trial(pool, locate_backbone("embedded"))
    drawn = {i: trial.draw(i) for i in range(0, len(trial.pool.tiles), 2)}
    return trial.segmenter(trial.pool.train(locate_preset("prozs"), drawn, 0))


def labels(one: Segmenter, slide: Slide, overlap: float | None, shift: tuple[int, int]) -> NDArray[np.uint8]:
    """Label ids uint8 [h, w] of the whole map."""
    plan = one.plan(slide, overlap, 2048, shift)
    features = one.features(slide, plan, find_tissue(slide))
    out = np.zeros(plan.size[::-1], dtype=np.uint8)
    for part in plan.chunks():
        b = part.box
        scores = box_scores(one.model, plan, features, b, everything(slide))
        out[b.y : b.y + b.height, b.x : b.x + b.width] = scores.best(b)
    return out


def agreement(first: NDArray[np.uint8], other: NDArray[np.uint8]) -> tuple[float, float]:
    """Fraction of equal pixels: (of all, of those away from borders)."""
    border = np.zeros(first.shape, dtype=bool)
    border[:, 1:] |= first[:, 1:] != first[:, :-1]
    border[1:] |= first[1:] != first[:-1]
    inner = np.zeros_like(border)
    inner[112:-112, 112:-112] = True
    same = first == other
    away = ndimage.distance_transform_edt(~border) > 8 if border.any() else ~border
    return float(same[inner].mean()), float(same[inner & away].mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line of JSON per slide and kind of windows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pool", default="phantom:14,size=512")
    parser.add_argument("--slides", type=Path, nargs="*", default=[])
    parser.add_argument("--mpp", type=float, default=0.5, help="of slides that state none")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    one = fitted(options.pool)
    slides: list[Slide] = [
        ArraySlide(f"phantom {i}", generate(SlideRecipe(11, i, (1200, 1200), 0.5))[0], 0.5) for i in (3, 6)
    ]
    slides += [open_slide(path, options.mpp) for path in options.slides]
    for slide in slides:
        for name, overlap in (("one stain, rim", None), ("window by window", OVERLAP)):
            started = time.process_time()
            first = labels(one, slide, overlap, (0, 0))
            row = {"slide": slide.id, "windows": name, "processor_s": round(time.process_time() - started, 1)}
            for kind, shifts in (("whole_cells", WHOLE), ("parts", PARTS)):
                found = [agreement(first, labels(one, slide, overlap, shift)) for shift in shifts]
                row |= {kind: [round(a, 4) for a, _ in found], f"{kind}_away": [round(b, 4) for _, b in found]}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
