"""What the parts of ProZS are worth: ``python -m benchmarks.ablation --data DATA``.

Every variant is fitted to the same random share of the pool and measured on the test part; the tiles depend on the
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

from aczerots.backbones.base import Backbone, BackboneInfo, Grids
from aczerots.backbones.locate import locate_backbone
from aczerots.config import cache_folder
from aczerots.datasets.base import Dataset
from aczerots.datasets.locate import locate_dataset
from aczerots.evaluate import Metrics
from aczerots.progress import Silent
from aczerots.prozs.decoder import ResidualDecoder, ResidualProjection
from aczerots.prozs.fit import Recipe, prozs_loss
from aczerots.prozs.model import PrototypeScorer, ProZS
from aczerots.prozs.presets import PRESETS, Preset
from aczerots.prozs.prototypes import PrototypeBank
from aczerots.text.descriptions import describe_taxonomy
from aczerots.text.prototypes import text_prototypes
from aczerots.workbench import TileSet, Workbench, check_truth, embed_split
from benchmarks.text import interval

TILE = 224

SETTINGS = {
    "luad": ("folder:{data}/luad", (["tumor epithelium"], ["tumor-associated stroma"], ["normal lung tissue"])),
    "glas": ("folder:{data}/glas", (["malignant colonic gland"], ["benign colonic gland"])),
    "ebhi": ("folder:{data}/ebhi", (["hyperplastic polyp"], ["serrated adenoma"])),
    "phantom": ("phantom:40", (["necrosis"], ["necrosis", "adipose tissue"])),
}
"""Dataset locator and the sets of classes that nobody draws."""


def usual(info: BackboneInfo, classes: int, *, even: float = 500.0, most: int = 4) -> tuple[nn.Module, ...]:
    """Decoder, projection and bank of the preset ``prozs``; ``even`` and ``most`` as in :class:`PrototypeBank`."""
    bank = PrototypeBank(classes, info.dim, even=even, most=most)
    return ResidualDecoder(info.dim, info.layer_dim), ResidualProjection(info.dim), bank


class FixedDecoder(nn.Module):
    """The backbone's aligned grid as it is."""

    def forward(self, grids: Grids) -> torch.Tensor:
        """Unit features [b, d, gh, gw]."""
        return nn.functional.normalize(grids.aligned, dim=1)


def variant(name: str, *, parts: Callable[..., tuple[nn.Module, ...]] = usual, **recipe: object) -> Preset:
    """The preset ``prozs`` with other parts or another recipe."""

    def build(info: BackboneInfo, text: torch.Tensor, seen: torch.Tensor) -> ProZS:
        decoder, projection, bank = parts(info, len(text))
        assert isinstance(bank, PrototypeBank)
        return ProZS(decoder, projection, PrototypeScorer(bank, info.logit_scale), text, seen)

    known = PRESETS["prozs"].recipe
    assert isinstance(known, Recipe)
    return Preset(name, build, replace(known, **recipe))  # type: ignore[arg-type]  # checked by the dataclass


def fixed(info: BackboneInfo, classes: int) -> tuple[nn.Module, ...]:
    """The parts of ``prozs`` with a decoder that learns nothing."""
    return FixedDecoder(), *usual(info, classes)[1:]


VARIANTS: dict[str, Preset] = {
    "prozs": PRESETS["prozs"],
    "one visual prototype per class": variant("one", parts=partial(usual, most=1)),
    "no visual prototypes": variant("none", parts=partial(usual, even=float("inf"))),
    "visual prototypes only": variant("only", parts=partial(usual, even=1e-6)),
    "no Dice": variant("no dice", loss=partial(prozs_loss, dice=0.0)),
    "no contrast": variant("no contrast", loss=partial(prozs_loss, contrast=0.0)),
    "no keep": variant("no keep", loss=partial(prozs_loss, keep=0.0)),
    "gamma 0": variant("gamma 0", gamma=None),
    "decoder that learns nothing": variant("fixed", parts=fixed),
    "every row and column": variant("whole", thin=1),
    "seen-only": PRESETS["seen-only"],
    "zeroshot": PRESETS["zeroshot"],
    "paper": PRESETS["paper"],
}
USUAL = tuple(name for name in VARIANTS if name != "paper")


@dataclass(frozen=True)
class Row:
    """Metrics of a variant at a share: hIoU, mIoU of seen and of unseen classes, one per seed (mean over sets)."""

    dataset: str
    share: float
    variant: str
    hiou: tuple[float, ...]
    seen: tuple[float, ...]
    unseen: tuple[float, ...]


def fit_once(bench: Workbench, preset: Preset, share: float, seed: int) -> Metrics:
    """Metrics after a fit to tiles that only the seed and the share choose."""
    count = len(bench.pool.tiles)
    drawn = np.random.default_rng([seed, count]).permutation(count)[: max(1, round(share * count))]
    annotations = {int(i): bench.expert(int(i)) for i in sorted(drawn)}
    return bench.evaluate(bench.fitted(preset, annotations, seed), Silent())


def open_parts(name: str, data: str, backbone: Backbone) -> tuple[Dataset, TileSet, TileSet]:
    """The dataset with its embedded pool and test part."""
    dataset = locate_dataset(SETTINGS[name][0].format(data=data))
    check_truth(dataset, ("train", "test"))
    pool, test = (embed_split(dataset, split, TILE, backbone, cache_folder(), Silent()) for split in ("train", "test"))
    return dataset, pool, test


def compare(
    name: str, data: str, shares: Sequence[float], seeds: Sequence[int], variants: Sequence[str], sets: int
) -> list[Row]:
    """All variants on one dataset with its first sets of unseen classes."""
    unseen_sets = SETTINGS[name][1][:sets]
    backbone = locate_backbone("embedded")
    dataset, pool, test = open_parts(name, data, backbone)
    rows = []
    for share in shares:
        for word in variants:
            found = np.empty((len(seeds), len(unseen_sets), 3))
            for j, unseen in enumerate(unseen_sets):
                said = describe_taxonomy(dataset.taxonomy.with_unseen(unseen), "descriptions")
                bench = Workbench(dataset, said, backbone, text_prototypes(backbone, said).cpu(), pool, test, "cpu")
                for i, seed in enumerate(seeds):
                    m = fit_once(bench, VARIANTS[word], share, seed)
                    found[i, j] = m.hiou, m.miou_seen, m.miou_unseen
            mean = np.nan_to_num(found).mean(axis=1)
            rows.append(Row(name, share, word, *(tuple(mean[:, k].tolist()) for k in range(3))))
            sys.stderr.write(f"{name} {share:g} {word}: hIoU {mean[:, 0].mean():.3f}\n")
            sys.stderr.flush()
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown; differences are to the first variant of the same dataset and share, paired by seed."""
    lines = ["| dataset | share | variant | hIoU | difference | seen | unseen |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        first = next(r for r in rows if (r.dataset, r.share) == (row.dataset, row.share))
        mean, half = interval(row.hiou)
        gain, wide = interval([a - b for a, b in zip(row.hiou, first.hiou, strict=True)])
        text = "" if row is first else f"{gain:+.3f} ± {wide:.3f}"
        bold = f"**{text}**" if row is not first and abs(gain) > wide else text
        cells = (row.dataset, f"{row.share:.0%}", row.variant, f"{mean:.3f} ± {half:.3f}", bold)
        lines.append(f"| {' | '.join(cells)} | {np.mean(row.seen):.3f} | {np.mean(row.unseen):.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Run what the command line asks for, print the table and write the numbers."""
    parser = argparse.ArgumentParser(description="Effect of the parts of ProZS.")
    parser.add_argument("--data", default="../shared/data", help="folder with luad, ebhi and glas")
    parser.add_argument("--datasets", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--shares", nargs="+", type=float, default=[0.1, 1.0], help="shares of the pool that are drawn")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0")
    parser.add_argument("--variants", nargs="+", default=list(USUAL), choices=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("ablation.json"))
    parser.add_argument("--sets", type=int, default=9, help="sets of unseen classes per dataset, the first ones")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.datasets:
        rows += compare(name, options.data, options.shares, range(options.seeds), options.variants, options.sets)
        options.out.write_text(json.dumps([vars(r) for r in rows], indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(rows) + "\n")


if __name__ == "__main__":
    main()
