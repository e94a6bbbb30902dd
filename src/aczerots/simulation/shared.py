"""What several runs have in common, so that each part of it is computed once.

Runs on one dataset share the open pool and evaluation. Runs that differ only in strategy also share the model of
round 1, the metrics of rounds 0 and 1 and the full-label result, because equal annotations give equal models; these
lie on disk, where other processes find them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aczerots.backbones.locate import locate_backbone, locate_device
from aczerots.backbones.options import BackboneOptions
from aczerots.config import SimulateSettings
from aczerots.datasets.locate import locate_dataset
from aczerots.engine.progress import Progress
from aczerots.errors import InputError
from aczerots.loop.pool import Pool, open_pool
from aczerots.prozs.checkpoint import ModelCard, load_model, save_model
from aczerots.prozs.model import ProZS
from aczerots.simulation.evaluation import Evaluation, check_truth, choose_classes, open_evaluation
from aczerots.slides.tiling import common_mpp
from aczerots.storage.files import make_folder, write_text_atomic
from aczerots.version import __version__

_OF_ONE_RUN = {"strategy", "without", "preset", "rounds", "initial", "budget", "first", "seed"}
"""Settings that touch neither pool nor evaluation."""


@dataclass(frozen=True)
class OpenDataset:
    """What runs on one dataset have in common.

    Attributes:
        pool: The training part, without its truth.
        evaluation: The whole dataset with its truth, and the windows of its test part.
        truth: Hash of the truth.
    """

    pool: Pool
    evaluation: Evaluation
    truth: str


def open_dataset(
    settings: SimulateSettings, options: BackboneOptions, device: str, cache: Path, progress: Progress
) -> OpenDataset:
    """Open a dataset and a backbone and compute the features that the cache lacks.

    Raises:
        InputError: Bad images, masks, splits or weights.
        SettingsError: Unknown dataset kind, backbone or class.
    """
    device = locate_device(device)
    data = locate_dataset(settings.dataset)
    for note in data.notes:
        progress.say(note)
    descriptions = None if settings.descriptions is None else Path(settings.descriptions)
    taxonomy = choose_classes(data, settings.unseen, settings.text, progress, descriptions)
    truth = check_truth(data, ("train", "test"), progress)
    backbone = locate_backbone(settings.backbone, device, options)
    tiles = data.tiles("train", settings.tile_size)
    mpp = common_mpp(tiles)
    slides = {s.slide.id: s.slide for s in data.samples}
    pool = open_pool(
        taxonomy, tiles, slides, backbone, cache=cache, progress=progress, mode=settings.cache, mpp=mpp, device=device
    )
    # Every round measures on all test windows: coarse features would not do.
    kept = None if settings.cache == "off" else cache
    return OpenDataset(pool, open_evaluation(data, backbone, settings.tile_size, mpp, kept, progress), truth)


class Sharing:
    """Keeps the last dataset open, and results that runs have in common in a folder.

    Args:
        folder: Where results lie; made if missing.

    Raises:
        StorageError: The folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_folder(folder)
        self._opened: tuple[str, OpenDataset] | None = None

    def open(
        self, settings: SimulateSettings, options: BackboneOptions, device: str, cache: Path, progress: Progress
    ) -> OpenDataset:
        """What a run works on: what is open if it is the same, else opened anew (:func:`open_dataset`)."""
        shared = settings.model_dump(mode="json", exclude=_OF_ONE_RUN)
        key = json.dumps([shared, asdict(options), device, str(cache)])
        if self._opened is None or self._opened[0] != key:
            # Two open at a time would double the memory.
            self._opened = None
            self._opened = key, open_dataset(settings, options, device, cache, progress)
        return self._opened[1]

    def key(self, opened: OpenDataset, preset: str, seed: int, annotated: Sequence[int]) -> str:
        """Name of the result of fitting a preset to the expert's drawings of some pool tiles.

        Args:
            opened: Pool and evaluation.
            preset: Name of the preset.
            seed: Seed of the fit.
            annotated: Positions of the annotated tiles.
        """
        slides = {s.slide.id: s.slide.fingerprint for s in opened.evaluation.dataset.samples}
        facts = [
            __version__,
            "blended windows",
            opened.pool.backbone.info.hash,
            opened.pool.taxonomy.model_dump(mode="json"),
            [[t.id, slides[t.slide]] for t in opened.pool.tiles],
            [[s.slide.id, slides[s.slide.id]] for s in opened.evaluation.samples],
            opened.truth,
            preset,
            seed,
            sorted(annotated),
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    def model(self, key: str, card: ModelCard, train: Callable[[], ProZS]) -> ProZS:
        """The model of that name, on the CPU; trained and kept if there is none that can be read."""
        path = self.folder / f"{key}.safetensors"
        try:
            return load_model(path)[0]
        except InputError:
            # None yet, or a damaged copy, which is replaced.
            model = train()
            save_model(path, model, card)
            return model

    def row(self, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The metrics row of that name, measured and kept if there is none; undefined numbers are NaN."""
        path = self.folder / f"{key}.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            found = measure()
            write_text_atomic(path, json.dumps(found))
        return found
