"""How good the models of a project are, on drawn tiles that they were not fitted to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aczerots.annotation.formats.masks import decode_mask, only_seen
from aczerots.annotation.store.records import AnswerKind
from aczerots.annotation.store.store import ProjectStore
from aczerots.engine.progress import Progress
from aczerots.evaluate import ConfusionMatrix
from aczerots.loop.pool import Masks, Pool
from aczerots.predict.segmenter import Segmenter
from aczerots.project.drafts import tile_windows
from aczerots.prozs.model import ProZS
from aczerots.prozs.prototype_weight import divide
from aczerots.slides.base import Tile
from aczerots.slides.labelled import TissueRule
from aczerots.taxonomy import NO_SEEN, Taxonomy


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


def unchanged_drafts(store: ProjectStore, up_to: int, taxonomy: Taxonomy) -> set[int]:
    """Positions of drawn tiles whose answer is the model's draft as it was; of rounds 0 to ``up_to``."""
    answers = [a for a in store.answers.counting(up_to) if a.mask is not None]
    drafts, tiles = store.rounds.drafts([a.tile for a in answers if a.draft is not None]), store.rounds.tiles()
    found = {a.tile for a in answers if a.kind is AnswerKind.ACCEPTED}
    for answer in answers:
        draft = drafts.get(answer.tile)
        if draft is not None and draft.id == answer.draft and answer.mask is not None:
            said, drafted = (only_seen(decode_mask(m), taxonomy) for m in (answer.mask, draft.mask))
            inner = tiles[answer.tile].inner
            if np.array_equal(said[inner], drafted[inner]):
                found.add(answer.tile)
    return found


def cross_validate(  # noqa: PLR0913  # as many things decide what is measured
    pool: Pool,
    masks: Masks,
    number: int,
    fit: Callable[[Masks], ProZS],
    tissue: TissueRule,
    cache: Path,
    progress: Progress,
    *,
    unchanged: Collection[int] = (),
) -> dict[str, Any]:
    """Measure models that are each fitted to all drawn tiles but one part, on that part (Stone, 1974).

    The model in use is fitted to all of them, so that it is rather better than this says. The tiles are those that
    selection found hard or new, so that the numbers are no estimate for a whole slide; they tell rounds and classes
    apart. Drafts that were accepted unchanged agree with models for no merit of theirs: they are not measured on,
    unless there is nothing else.

    Args:
        pool: The pool.
        masks: Label ids uint8 [size, size] by position, seen classes and NO_SEEN only.
        number: Parts, see :func:`split_folds`.
        fit: Gives a model of some masks.
        tissue: Says what gets a class; a drawn pixel that gets none counts as wrong.
        cache: Folder of cached features.
        progress: Receives progress.
        unchanged: Positions of tiles whose mask is a draft as it was.

    Returns:
        ``measured_tiles``, ``accepted_fraction`` (of the drawn tiles, those whose mask is a draft as it was), ``folds``
        that were fitted, ``held_together`` (slide or tile), ``pacc``, ``miou_seen`` and ``iou:CLASS`` of
        every seen class, NaN where undefined; empty if there is nothing to divide. Unseen classes are not measured,
        since nobody draws them, but a drawn pixel that is given to one counts as wrong.
    """
    taxonomy = pool.taxonomy
    drawn = [position for position, mask in masks.items() if (mask < NO_SEEN).any()]
    parts, kind = split_folds(pool.tiles, drawn, number)
    if not parts:
        return {}
    counted = [p for p in drawn if p not in unchanged] or drawn
    parts = [part for part in parts if not set(part).isdisjoint(counted)]
    matrix, windows = ConfusionMatrix(len(taxonomy)), tile_windows(pool, counted, cache, progress)
    for i, held in enumerate(parts):
        progress.step("measure", i, len(parts))
        model = fit({p: m for p, m in masks.items() if p not in held})
        segmenter = Segmenter(model, pool.card("fold", 0), pool.backbone)
        for position in (p for p in held if p in counted):
            tile = pool.tiles[position]
            slide = pool.slides[tile.slide]
            matrix.add(masks[position][tile.inner], segmenter.tile_labels(tile, slide, windows, tissue.mask(slide)))
    progress.step("measure", len(parts), len(parts))
    found = matrix.metrics(taxonomy)
    ious = {f"iou:{taxonomy.names[i]}": found.iou[i] for i in taxonomy.seen_ids}
    accepted = sum(p in unchanged for p in drawn) / len(drawn)
    head = {"measured_tiles": len(counted), "accepted_fraction": accepted, "folds": len(parts), "held_together": kind}
    return {**head, "pacc": found.pacc, "miou_seen": found.miou_seen, **ious}
