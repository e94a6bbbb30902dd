"""How the settings of the embedded backbone are chosen: without any mask of a real dataset and without a test split.

``python -m benchmarks.embedded_choices --data DATA [--set NAME=VALUE ...]`` trains with the settings of
:class:`tools.train_embedded.fit.TrainingSettings`, changed as told, and prints

- phantom: zero-shot mIoU on another seed, as it is and restained, with all descriptions and with looks only;
- drawn: zero-shot mIoU over the drawn tissues;
- ebhi, glas, lung, oral: image-level balanced accuracy on images of the pools, by the vote of the cells;
- with ``--held-out``: the same for an organ whose images were all kept from training.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tools.train_embedded import cells as measured
from tools.train_embedded.data import Source, crops, sources
from tools.train_embedded.fit import Trainer, TrainingSettings
from torch import Tensor

from aczerots.text.descriptions import bundled_descriptions

LOOKS = {
    "tumor nests": "large irregular crowded nuclei in solid nests without lumen",
    "stroma": "wavy pink fibers with thin elongated nuclei",
    "lymphocytes": "small round dark crowded nuclei with scant cytoplasm",
    "necrosis": "granular pink debris with nuclear dust and no intact nuclei",
    "adipose tissue": "large empty cells with thin walls",
    "normal glands": "a ring of uniform nuclei around a round lumen",
    "smooth muscle": "long bright pink bundles with cigar shaped nuclei",
    "blood": "bright red discs without nuclei",
    "background": "empty white glass",
}
"""The phantom's tissues without their names."""

_COLON = ("colonic stroma", "background")
_LESIONS = (
    "normal colonic gland",
    "hyperplastic polyp",
    "low-grade intraepithelial neoplasia",
    "high-grade intraepithelial neoplasia",
    "serrated adenoma",
    "colorectal adenocarcinoma",
)


@dataclass(frozen=True)
class Task:
    """Images of one organ that are told apart by their class.

    Attributes:
        organ: Prefixes of the sources that hold the organ.
        classes: Source to the name of its class.
        others: Names that may take cells but are no answer.
    """

    organ: tuple[str, ...]
    classes: dict[str, str]
    others: tuple[str, ...]


TASKS = {
    "ebhi": Task(("ebhi", "glas", "colon"), {f"ebhi_{i + 1}": n for i, n in enumerate(_LESIONS)}, _COLON),
    "glas": Task(("ebhi", "glas", "colon"), {"glas_1": _LESIONS[0], "glas_2": _LESIONS[5]}, _COLON),
    "lung": Task(
        ("lung", "luad"),
        {
            "lung_n": "normal lung tissue",
            "lung_aca": "lung adenocarcinoma",
            "lung_scc": "squamous cell carcinoma of the lung",
        },
        ("tumor-associated stroma", "background"),
    ),
    "oral": Task(
        ("oral",),
        {"oral_normal": "normal oral mucosa", "oral_oscc": "oral squamous cell carcinoma"},
        ("stroma", "background"),
    ),
}


def say(line: str) -> None:
    """Progress."""
    print(line, flush=True)


def texts(trainer: Trainer, names: Sequence[str], looks: bool = False) -> Tensor:
    """Class vectors [c, d] from all descriptions, or from looks alone."""
    with torch.no_grad():
        means = [trainer.text([LOOKS[n]] if looks else list(bundled_descriptions(n) or (n,))).mean(0) for n in names]
    return F.normalize(torch.stack(means), dim=1)


@torch.no_grad()
def embedded(trainer: Trainer, cells: Tensor) -> Tensor:
    """Joint-space cells [..., d] of measured cells [..., m]."""
    z = trainer.standard(cells)
    return F.normalize(trainer.image.reading(z) + trainer.image.correct(trainer.image.hidden(z)), dim=-1)


def mean_iou(truth: Tensor, answer: Tensor) -> float:
    """Mean IoU over cells with more than 0.6 of one kind; truth [tiles, cells, kinds], answer [tiles, cells]."""
    n, fraction = truth.shape[-1], truth.amax(-1)
    sure = fraction > 0.6
    counts = torch.bincount(truth.argmax(-1)[sure] * n + answer[sure], minlength=n * n).view(n, n).float()
    union = counts.sum(0) + counts.sum(1) - counts.diag()
    return float((counts.diag() / union.clamp_min(1))[counts.sum(1) > 0].mean())


def image_level(trainer: Trainer, task: Task, images: dict[str, Tensor]) -> float:
    """Balanced accuracy of the vote of the cells over the images of a task's classes."""
    vectors = texts(trainer, [*task.classes.values(), *task.others])
    recalls = []
    for i, source in enumerate(task.classes):
        votes = (embedded(trainer, images[source]) @ vectors.T * trainer.settings.kappa).softmax(-1).mean(1)
        recalls.append((votes[:, : len(task.classes)].argmax(1) == i).float().mean().item())
    return float(np.mean(recalls))


def part_without(real: measured.RealCells, prefixes: tuple[str, ...]) -> measured.RealCells:
    """The cells of all sources but those whose names begin so."""
    keep = [i for i, name in enumerate(real.names) if not name.startswith(prefixes)]
    rows = torch.isin(real.source, torch.tensor(keep))
    number = torch.tensor([keep.index(int(s)) for s in real.source[rows]])
    mixes, names = tuple(real.mixes[i] for i in keep), tuple(real.names[i] for i in keep)
    return measured.RealCells(real.views[:, rows], number, mixes, names)


def fresh_images(found: Sequence[Source], count: int) -> dict[str, Tensor]:
    """Restained crops of every source that a task asks for, measured: [count, cells, m] each."""
    rng = np.random.default_rng(1)
    wanted = {name for task in TASKS.values() for name in task.classes}
    return {s.name: measured.restained_views(crops(s, count, rng), 1, rng)[1] for s in found if s.name in wanted}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another value of a setting")
    parser.add_argument("--held-out", action="store_true", help="also train without each organ and measure it")
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to try the command")
    options = parser.parse_args()
    settings = (
        TrainingSettings(tiles=2, phantom=1, drawn=8, warm=20, steps=20)
        if options.quick
        else TrainingSettings(tiles=80)
    )
    known = {name: type(value) for name, value in vars(settings).items()}
    for pair in options.set:
        name, _, value = pair.partition("=")
        if name not in known:
            parser.error(f"no setting '{name}'; the settings are {', '.join(known)}")
        settings = replace(settings, **{name: known[name](value)})
    rng = np.random.default_rng(settings.seed)
    found = sources(options.data)
    real = measured.real_cells(found, settings.tiles, rng, say)
    drawn = [
        (measured.phantom_cells(settings.phantom, rng, say), settings.phantom_fraction),
        (measured.synthetic_cells(settings.drawn, rng, say), settings.drawn_fraction),
    ]
    other = np.random.default_rng(77)
    few = 2 if options.quick else 60
    images = fresh_images(found, few)
    phantom = measured.phantom_cells(2 if options.quick else 16, other, say, seed=5002)
    sheets = measured.synthetic_cells(few * 2, other, say)

    def trained(cells: measured.RealCells) -> Trainer:
        trainer = Trainer(settings, cells, drawn, lambda line: None)
        trainer.warm_text()
        trainer.fit()
        return trainer

    trainer = trained(real)
    names = [kinds[0] for kinds in phantom.names]
    for view, label in enumerate(("as it is", "restained")):
        for looks in (False, True):
            answer = (embedded(trainer, phantom.views[view]) @ texts(trainer, names, looks).T).argmax(-1)
            say(f"phantom {label}, {'looks only' if looks else 'descriptions'}: {mean_iou(phantom.truth, answer):.3f}")
    answer = (embedded(trainer, sheets.views[1]) @ texts(trainer, [k[0] for k in sheets.names]).T).argmax(-1)
    say(f"drawn tissues: {mean_iou(sheets.truth, answer):.3f}")
    for name, task in TASKS.items():
        say(f"{name} images: {image_level(trainer, task, images):.3f}")
    if options.held_out:
        without = {
            organ: trained(part_without(real, organ)) for organ in dict.fromkeys(t.organ for t in TASKS.values())
        }
        for name, task in TASKS.items():
            say(f"{name} images, organ held out: {image_level(without[task.organ], task, images):.3f}")


if __name__ == "__main__":
    main()
