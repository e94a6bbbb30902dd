"""What descriptions are worth: ``python -m benchmarks.text --data DATA`` (the text ablation of the paper, wider).

A class is described by its bare name, its name in the usual templates, its first description, or all its
descriptions. Measured on the test part: the zero-shot answer (mIoU of all classes, hIoU), and the IoU of the unseen
class after a fit to a random fifth of the pool. The tiles drawn depend on the seed only, so that differences are
paired. Neither descriptions nor settings were chosen by these numbers; the test part is only measured on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aczerots.backbones.locate import locate_backbone
from aczerots.config import TextMode
from aczerots.engine.threads import use_threads
from aczerots.evaluate import ConfusionMatrix, harmonic_mean
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import Preset, locate_preset
from aczerots.taxonomy import Taxonomy
from aczerots.text.descriptions import describe_taxonomy
from benchmarks.measures import Counts, Score, bootstrap, iou, mean_iou
from benchmarks.trials import Trial, fit_once, open_trial, plain, signed

SETTINGS = {
    "luad": ("folder:{data}/luad", "normal lung tissue"),
    "ebhi": ("folder:{data}/ebhi", "colorectal adenocarcinoma"),
    "glas": ("folder:{data}/glas", "malignant colonic gland"),
    "phantom": ("phantom:40", "necrosis"),
}
"""Dataset locator and the class that nobody draws."""

KINDS: dict[str, TextMode] = {
    "name": "names",
    "templates": "templates",
    "one description": "descriptions",
    "all descriptions": "descriptions",
}

FRACTION = 0.2


@dataclass(frozen=True)
class Row:
    """Results of one kind of description on one dataset.

    Attributes:
        dataset: Short name of the dataset.
        kind: Key of :data:`KINDS`.
        zero_miou: Zero-shot mean IoU over the classes of the truth, with its interval over images.
        zero_hiou: Zero-shot hIoU, likewise.
        unseen: IoU of the unseen class after the fit, one per seed.
        hiou: hIoU after the fit, one per seed.
    """

    dataset: str
    kind: str
    zero_miou: Score
    zero_hiou: Score
    unseen: tuple[float, ...]
    hiou: tuple[float, ...]


def described_by(taxonomy: Taxonomy, kind: str) -> Taxonomy:
    """The classes with one kind of description."""
    described = describe_taxonomy(taxonomy, KINDS[kind])
    if kind != "one description":
        return described
    return described.with_descriptions([c.descriptions[:1] for c in described.classes])


def count_by_image(trial: Trial, model: ProZS) -> Counts:
    """Confusion counts [images, C, C] of the test part."""
    counts, segmenter = [], trial.segmenter(model)
    for sample in trial.evaluation.samples:
        matrix = ConfusionMatrix(len(trial.pool.taxonomy))
        trial.evaluation.count(segmenter, sample, matrix)
        counts.append(matrix.counts)
    return np.stack(counts)


def hiou(counts: Counts, seen: NDArray[np.bool_]) -> float:
    """Harmonic IoU of summed counts [C, C]."""
    values = iou(counts)
    return harmonic_mean(float(np.nanmean(values[seen])), float(np.nanmean(values[~seen])))


def compare(name: str, data: str, backbone: str, seeds: Sequence[int], preset: Preset) -> list[Row]:
    """All kinds of description on one dataset."""
    locator, unseen = SETTINGS[name]
    model = locate_backbone(backbone)
    trial = open_trial(locator.format(data=data), model)
    taxonomy = trial.evaluation.dataset.taxonomy.with_unseen([unseen])
    rows = []
    for kind in KINDS:
        said = described_by(taxonomy, kind)
        described = trial.under(said)
        zero = count_by_image(described, described.pool.untrained(locate_preset("zeroshot"), 0))
        fitted = [fit_once(described, preset, FRACTION, seed) for seed in seeds]
        row = Row(
            name,
            kind,
            bootstrap(zero, mean_iou),
            bootstrap(zero, partial(hiou, seen=said.seen)),
            tuple(m.miou_unseen for m in fitted),
            tuple(m.hiou for m in fitted),
        )
        rows.append(row)
        sys.stderr.write(f"{name}: {kind} done\n")
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown; differences are to the bare name, paired by seed."""
    names = ("dataset", "described by", "zero-shot mIoU", "zero-shot hIoU", "fitted unseen IoU")
    head = f"| {' | '.join((*names, 'difference to name', 'fitted hIoU'))} |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for row in rows:
        first = next(r for r in rows if r.dataset == row.dataset)
        gain = "" if row is first else signed(row.unseen, first.unseen)
        columns = (row.dataset, row.kind, str(row.zero_miou), str(row.zero_hiou))
        lines.append(f"| {' | '.join(columns)} | {plain(row.unseen)} | {gain} | {plain(row.hiou)} |")
    return "\n".join(lines)


@use_threads(1)
def main() -> None:
    """Run what the command line asks for, print the table and write the numbers."""
    parser = argparse.ArgumentParser(description="Effect of the descriptions of classes.")
    parser.add_argument("--data", default="../shared/data", help="folder with luad, ebhi and glas")
    parser.add_argument("--datasets", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0")
    parser.add_argument("--steps", type=int, help="steps of a fit instead of the preset's, to see that it works")
    parser.add_argument("--out", type=Path, default=Path("text.json"))
    options = parser.parse_args()
    preset = locate_preset("prozs")
    if options.steps is not None and preset.recipe is not None:
        preset = replace(preset, recipe=replace(preset.recipe, steps=options.steps))
    rows: list[Row] = []
    for name in options.datasets:
        rows += compare(name, options.data, options.backbone, range(options.seeds), preset)
    sys.stdout.write(table(rows) + "\n")
    revision = locate_backbone(options.backbone).info.revision
    facts = {
        "backbone": options.backbone,
        "revision": revision,
        "fraction": FRACTION,
        "steps": options.steps,
        "unseen": SETTINGS,
    }
    options.out.write_text(json.dumps(facts | {"rows": [asdict(r) for r in rows]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
