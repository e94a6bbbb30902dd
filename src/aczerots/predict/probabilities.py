"""Class probabilities of a slide as a zarr array, at about the resolution at which the model knows them."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from aczerots.predict.blend import ChunkScores, blocks
from aczerots.slides.frame import Frame
from aczerots.slides.tissue import TissueMask
from aczerots.slides.windows import TIFF_TILE, Chunk, WindowPlan
from aczerots.taxonomy import Taxonomy


class ProbabilityStore:
    """A zarr array uint8 [C, h, w]: 255 is probability 1, all classes are 0 where there is no tissue.

    A pixel is the mean over a square of ``downsample`` map pixels, the largest power of two that is not above a cell
    of the model. The attributes say what it is: ``classes``, ``level0_per_pixel``, ``mpp``, ``frame``.

    Args:
        path: The zarr folder; one with the same key is gone on with, another one is replaced.
        plan: The plan of the slide.
        taxonomy: The classes.
        key: Of everything that decides the content.
        frame: The frame of the plan.

    Attributes:
        new: Whether there was none to go on with.
    """

    def __init__(self, path: Path, plan: WindowPlan, taxonomy: Taxonomy, key: str, frame: Frame) -> None:
        import zarr

        self._plan, self._path = plan, path
        self.downsample = f = min(TIFF_TILE, 2 ** int(math.log2(max(1.0, plan.cell))))
        facts = {
            "key": key,
            "classes": list(taxonomy.names),
            "level0_per_pixel": plan.scale * f,
            "mpp": None if plan.mpp is None else plan.mpp * f,
            "frame": frame.stated,
        }
        self._array: Any = _existing(path, key)
        self.new = self._array is None
        if self.new:
            shutil.rmtree(path, ignore_errors=True)
            self._array = zarr.create_array(
                path,
                shape=(len(taxonomy), -(-plan.size[1] // f), -(-plan.size[0] // f)),
                chunks=(len(taxonomy), plan.chunk // f, plan.chunk // f),
                dtype="uint8",
                attributes=facts,
            )

    @torch.no_grad()
    def put(self, chunk: Chunk, scores: ChunkScores, tissue: TissueMask) -> list[str]:
        """Write the probabilities of a chunk; returns the names of the files that hold them, within the folder."""
        f, b = self.downsample, chunk.box
        out = np.zeros((self._array.shape[0], -(-b.height // f), -(-b.width // f)), dtype=np.uint8)
        for block in blocks(b):
            inside = tissue.read(self._plan.level0(block), (block.width, block.height))
            if inside.any():
                p = scores.at(block).softmax(dim=0) * torch.from_numpy(inside)
                mean = F.avg_pool2d(p[None], f, ceil_mode=True, count_include_pad=False)[0]
                y, x = (block.y - b.y) // f, (block.x - b.x) // f
                out[:, y : y + mean.shape[1], x : x + mean.shape[2]] = (mean * 255).round().to(torch.uint8).numpy()
        top, left = b.y // f, b.x // f
        self._array[:, top : top + out.shape[1], left : left + out.shape[2]] = out
        name = f"c/0/{chunk.row}/{chunk.column}"
        # zarr writes no file for a chunk of zeros.
        return [name] if (self._path / name).exists() else []


def _existing(path: Path, key: str) -> Any:
    """The array of that key, None if there is none."""
    import zarr
    from zarr.errors import BaseZarrError

    try:
        found = zarr.open_array(path, mode="r+")
    except (FileNotFoundError, BaseZarrError, ValueError):
        return None
    return found if found.attrs.get("key") == key else None
