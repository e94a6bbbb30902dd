"""How good the models of a project are, on drawn tiles that they were not fitted to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aczerots.engine.progress import Progress
from aczerots.evaluate import ConfusionMatrix
from aczerots.loop.workbench import Workbench
from aczerots.predict.segmenter import tile_labels
from aczerots.project.part import Part
from aczerots.prozs.model import ProZS
from aczerots.prozs.prototype_weight import divide
from aczerots.slides.base import Tile
from aczerots.taxonomy import NO_SEEN

Masks = Mapping[int, NDArray[np.uint8]]


def split_folds(tiles: Sequence[Tile], drawn: Sequence[int], number: int) -> tuple[list[list[int]], str]:
    """Divide drawn tiles into parts of about the same size; tiles of a slide stay together if there are two slides.

    Args:
        tiles: The pool.
        drawn: Positions of the drawn tiles.
        number: Of parts; fewer if there are fewer slides, or fewer tiles of an only slide.

    Returns:
        (positions of each part, ascending; ``slide`` or ``tile``: what stays together). No parts if there are not
        two things to divide, or fewer than two parts are asked for.
    """
    groups: dict[str, list[int]] = {}
    for position in sorted(drawn):
        groups.setdefault(tiles[position].slide, []).append(position)
    kind = "slide" if len(groups) > 1 else "tile"
    together = list(groups.values()) if kind == "slide" else [[p] for p in sorted(drawn)]
    number = min(number, len(together))
    if number < 2:
        return [], kind
    return divide(together, number), kind


def cross_validate(
    bench: Workbench,
    masks: Masks,
    number: int,
    fit: Callable[[dict[int, NDArray[np.uint8]]], ProZS],
    progress: Progress,
) -> dict[str, Any]:
    """Measure models that are each fitted to all drawn tiles but one part, on that part (Stone, 1974).

    The model in use is fitted to all of them, so that it is rather better than this says. The tiles are those that
    selection found hard or new, so that the numbers are no estimate for a whole slide; they tell rounds and classes
    apart.

    Args:
        bench: The pool with its grids.
        masks: Label ids uint8 [size, size] by position, seen classes and NO_SEEN only.
        number: Parts, see :func:`split_folds`.
        fit: Gives a model of some masks.
        progress: Receives progress.

    Returns:
        ``measured_tiles``, ``folds``, ``held_together`` (slide or tile), ``pacc``, ``miou_seen`` and ``iou:CLASS`` of
        every seen class, NaN where undefined; empty if there is nothing to divide. Unseen classes are not measured,
        since nobody draws them, but a drawn pixel that is given to one counts as wrong.
    """
    drawn = [position for position, mask in masks.items() if (mask < NO_SEEN).any()]
    parts, kind = split_folds(bench.pool.tiles, drawn, number)
    matrix = ConfusionMatrix(len(bench.taxonomy))
    for i, held in enumerate(parts):
        progress.step("measure", i, len(parts))
        model = fit({p: m for p, m in masks.items() if p not in held})
        tiles = [bench.pool.tiles[p] for p in held]
        said = tile_labels(model, Part(bench.pool.grids, held), tiles)
        for position, (tile, labels) in zip(held, said, strict=True):
            matrix.add(masks[position][tile.inner], labels)
    if not parts:
        return {}
    progress.step("measure", len(parts), len(parts))
    found = matrix.metrics(bench.taxonomy)
    ious = {f"iou:{bench.taxonomy.names[i]}": found.iou[i] for i in bench.taxonomy.seen_ids}
    head = {"measured_tiles": len(drawn), "folds": len(parts), "held_together": kind}
    return {**head, "pacc": found.pacc, "miou_seen": found.miou_seen, **ious}
