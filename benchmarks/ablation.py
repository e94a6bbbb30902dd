"""What the parts of ProZS are worth: ``python -m benchmarks.ablation --data DATA``.

Every variant is fitted to the same random fraction of the pool and measured on the test part; the tiles depend on the
seed only, so that differences are paired. Nothing was chosen by these numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from aczerots.backbones.base import BackboneInfo, DenseFeatures
from aczerots.backbones.locate import locate_backbone
from aczerots.engine.threads import use_threads
from aczerots.prozs.decoder import PaperDecoder, PaperProjection, ResidualDecoder, ResidualProjection
from aczerots.prozs.fit import TrainingRecipe
from aczerots.prozs.model import DotScorer, PrototypeScorer, ProZS
from aczerots.prozs.objectives import prozs_loss
from aczerots.prozs.presets import PRESETS, Preset
from aczerots.prozs.prototypes import PrototypeBank
from aczerots.text.descriptions import describe_taxonomy
from benchmarks.trials import fit_once, open_trial, plain, signed

SETTINGS = {
    "luad": ("folder:{data}/luad", (["tumor epithelium"], ["tumor-associated stroma"], ["normal lung tissue"])),
    "glas": ("folder:{data}/glas", (["malignant colonic gland"], ["benign colonic gland"])),
    "ebhi": ("folder:{data}/ebhi", (["hyperplastic polyp"], ["serrated adenoma"])),
    "phantom": ("phantom:40", (["necrosis"], ["necrosis", "adipose tissue"])),
}
"""Dataset locator and the sets of classes that nobody draws."""


def usual(info: BackboneInfo, classes: int, **bank_options: float) -> tuple[nn.Module, ...]:
    """Decoder, projection and bank of the preset ``prozs``; further arguments are those of :class:`PrototypeBank`."""
    bank = PrototypeBank(classes, info.dim, **bank_options)  # type: ignore[arg-type]  # most is a whole number
    return ResidualDecoder(info.dim, info.layer_dim), ResidualProjection(info.dim), bank


class FixedDecoder(nn.Module):
    """The backbone's aligned features as they are."""

    def forward(self, features: DenseFeatures) -> torch.Tensor:
        """Unit vectors [b, d, gh, gw]."""
        return nn.functional.normalize(features.aligned, dim=1)


def variant(
    name: str, *, parts: Callable[..., tuple[nn.Module, ...]] = usual, cross_validate: bool = True, **recipe: object
) -> Preset:
    """The preset ``prozs`` with other parts, another recipe, or a fixed weight of visual prototypes."""

    def build(info: BackboneInfo, text: torch.Tensor, seen: torch.Tensor) -> ProZS:
        decoder, projection, bank = parts(info, len(text))
        assert isinstance(bank, PrototypeBank)
        return ProZS(decoder, projection, PrototypeScorer(bank, info.logit_scale), text, seen)

    return Preset(name, build, recipe_of("prozs", **recipe), cross_validate)


def recipe_of(preset: str, **changes: object) -> TrainingRecipe:
    """The recipe of a preset with some fields changed."""
    known = PRESETS[preset].recipe
    assert isinstance(known, TrainingRecipe)
    return replace(known, **changes)  # type: ignore[arg-type]  # checked by the dataclass


def fixed(info: BackboneInfo, classes: int) -> tuple[nn.Module, ...]:
    """The parts of ``prozs`` with a decoder that learns nothing."""
    return FixedDecoder(), *usual(info, classes)[1:]


def quarter(info: BackboneInfo, text: torch.Tensor, seen: torch.Tensor) -> ProZS:
    """The paper's model with two doublings less: a sixteenth of the work of its widest blocks."""
    decoder = PaperDecoder(info.layer_dim, info.stride // 4)
    return ProZS(decoder, PaperProjection(info.dim), DotScorer(), text, seen)


VARIANTS: dict[str, Preset] = {
    "prozs": PRESETS["prozs"],
    "one visual prototype per class": variant("one", parts=partial(usual, most=1)),
    "visual prototypes always": variant("always", cross_validate=False),
    "no visual prototypes": variant("none", parts=partial(usual, even=float("inf")), cross_validate=False),
    "visual prototypes only": variant("only", parts=partial(usual, even=1e-6), cross_validate=False),
    "no Dice": variant("no dice", loss=partial(prozs_loss, dice=0.0)),
    "no contrast": variant("no contrast", loss=partial(prozs_loss, contrast=0.0)),
    "no distillation": variant("no distillation", loss=partial(prozs_loss, distillation=0.0)),
    "no calibration bias": variant("no calibration bias", calibrate=None),
    "decoder that learns nothing": variant("fixed", parts=fixed),
    "every row and column": variant("whole", thin=1),
    "seen-only": PRESETS["seen-only"],
    "zeroshot": PRESETS["zeroshot"],
    "paper": PRESETS["paper"],
    "paper at a quarter": Preset("quarter", quarter, recipe_of("paper")),
    "paper at a quarter, 20 epochs": Preset("quarter-20", quarter, recipe_of("paper", epochs=20)),
}
USUAL = tuple(name for name in VARIANTS if not name.startswith("paper"))


@dataclass(frozen=True)
class Row:
    """Metrics of a variant at a fraction: hIoU, mIoU of seen and of unseen classes, one per seed (mean over sets)."""

    dataset: str
    fraction: float
    variant: str
    hiou: tuple[float, ...]
    seen: tuple[float, ...]
    unseen: tuple[float, ...]


def compare(
    name: str, data: str, fractions: Sequence[float], seeds: Sequence[int], variants: Sequence[str], sets: int
) -> list[Row]:
    """All variants on one dataset with its first sets of unseen classes."""
    unseen_sets = SETTINGS[name][1][:sets]
    backbone = locate_backbone("embedded")
    trial = open_trial(SETTINGS[name][0].format(data=data), backbone)
    rows = []
    for fraction in fractions:
        for word in variants:
            found = np.empty((len(seeds), len(unseen_sets), 3))
            for j, unseen in enumerate(unseen_sets):
                said = describe_taxonomy(trial.evaluation.dataset.taxonomy.with_unseen(unseen), "descriptions")
                described = trial.under(said)
                for i, seed in enumerate(seeds):
                    m = fit_once(described, VARIANTS[word], fraction, seed)
                    found[i, j] = m.hiou, m.miou_seen, m.miou_unseen
            mean = np.nan_to_num(found).mean(axis=1)
            rows.append(Row(name, fraction, word, *(tuple(mean[:, k].tolist()) for k in range(3))))
            sys.stderr.write(f"{name} {fraction:g} {word}: hIoU {mean[:, 0].mean():.3f}\n")
            sys.stderr.flush()
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown; differences are to the first variant of the same dataset and fraction, paired by seed."""
    lines = ["| dataset | fraction | variant | hIoU | difference | seen | unseen |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        first = next(r for r in rows if (r.dataset, r.fraction) == (row.dataset, row.fraction))
        gain = "" if row is first else signed(row.hiou, first.hiou)
        columns = (row.dataset, f"{row.fraction:.0%}", row.variant, plain(row.hiou), gain)
        lines.append(f"| {' | '.join(columns)} | {np.mean(row.seen):.3f} | {np.mean(row.unseen):.3f} |")
    return "\n".join(lines)


@use_threads(1)
def main() -> None:
    """Run what the command line asks for, print the table and write the numbers."""
    parser = argparse.ArgumentParser(description="Effect of the parts of ProZS.")
    parser.add_argument("--data", default="../shared/data", help="folder with luad, ebhi and glas")
    parser.add_argument("--datasets", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument(
        "--fractions", nargs="+", type=float, default=[0.1, 1.0], help="fractions of the pool that are drawn"
    )
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0")
    parser.add_argument("--variants", nargs="+", default=list(USUAL), choices=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("ablation.json"))
    parser.add_argument("--sets", type=int, default=9, help="sets of unseen classes per dataset, the first ones")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.datasets:
        rows += compare(name, options.data, options.fractions, range(options.seeds), options.variants, options.sets)
        options.out.write_text(json.dumps([vars(r) for r in rows], indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(rows) + "\n")


if __name__ == "__main__":
    main()
