"""What several runs have in common, so that each part of it is computed once.

Runs on one dataset share the open workbench. Runs that differ only in strategy also share the models of rounds 0
and 1 and the full-label result, because equal annotations give equal models; these lie on disk, where other
processes find them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aczerots import __version__
from aczerots.backbones.options import BackboneOptions
from aczerots.config import SimulateSettings
from aczerots.engine.progress import Progress
from aczerots.errors import InputError
from aczerots.loop.workbench import Workbench, open_workbench
from aczerots.prozs.checkpoint import ModelCard, load_model, save_model
from aczerots.prozs.model import ProZS
from aczerots.storage.files import make_folder, write_text_atomic

_OF_ONE_RUN = {"strategy", "without", "preset", "rounds", "initial", "budget", "first", "seed"}
"""Settings that do not touch the workbench."""


def bench_for(
    settings: SimulateSettings, options: BackboneOptions, device: str, cache: Path, progress: Progress
) -> Workbench:
    """The workbench of a run, opened.

    Raises:
        InputError: Bad images, masks, splits or weights.
        SettingsError: Unknown dataset kind, backbone or class.
    """
    return open_workbench(
        settings.dataset,
        unseen=settings.unseen,
        backbone=settings.backbone,
        options=options,
        text=settings.text,
        tile_size=settings.tile_size,
        device=device,
        cache=cache,
        progress=progress,
        mode=settings.cache,
        descriptions=None if settings.descriptions is None else Path(settings.descriptions),
    )


class Sharing:
    """Keeps the last workbench open, and results that runs have in common in a folder.

    Args:
        folder: Where results lie; made if missing.

    Raises:
        StorageError: The folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_folder(folder)
        self._bench: tuple[str, Workbench] | None = None

    def bench(
        self, settings: SimulateSettings, options: BackboneOptions, device: str, cache: Path, progress: Progress
    ) -> Workbench:
        """The workbench of a run: the open one if it is the same, else a newly opened one; see :func:`bench_for`."""
        shared = settings.model_dump(mode="json", exclude=_OF_ONE_RUN)
        key = json.dumps([shared, asdict(options), device, str(cache)])
        if self._bench is None or self._bench[0] != key:
            # Two open at a time would double the memory.
            self._bench = None
            self._bench = key, bench_for(settings, options, device, cache, progress)
        return self._bench[1]

    def key(self, bench: Workbench, preset: str, seed: int, annotated: Sequence[int]) -> str:
        """Name of the result of fitting a preset to the expert's drawings of some pool tiles.

        Args:
            bench: The workbench.
            preset: Name of the preset.
            seed: Seed of the fit.
            annotated: Positions of the annotated tiles.
        """
        slides = {s.slide.id: s.slide.fingerprint for s in bench.dataset.samples}
        facts = [
            __version__,
            bench.backbone.info.hash,
            bench.taxonomy.model_dump(mode="json"),
            [[t.id, slides[t.slide]] for t in (*bench.pool.tiles, *bench.test.tiles)],
            preset,
            seed,
            sorted(annotated),
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    def model(self, key: str) -> ProZS | None:
        """The model of that name, on the CPU; None if there is none that can be read."""
        path = self.folder / f"{key}.safetensors"
        try:
            return load_model(path)[0] if path.exists() else None
        except InputError:
            # A damaged copy is fitted again and replaced.
            return None

    def keep_model(self, key: str, model: ProZS, card: ModelCard) -> None:
        """Keep a model for other runs."""
        save_model(self.folder / f"{key}.safetensors", model, card)

    def row(self, key: str) -> dict[str, Any] | None:
        """The metrics row of that name; undefined numbers are NaN."""
        path = self.folder / f"{key}.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return found

    def keep_row(self, key: str, row: Mapping[str, Any]) -> None:
        """Keep a metrics row for other runs."""
        write_text_atomic(self.folder / f"{key}.json", json.dumps(dict(row)))
