"""The active-learning loop with a simulated expert. Read :func:`simulate` first."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aczerots.annotation.run_store import RoundState, Store
from aczerots.backbones.options import BackboneOptions
from aczerots.config import SimulateSettings, cache_folder, read_settings
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import InputError, SettingsError
from aczerots.loop.workbench import Workbench
from aczerots.prozs.checkpoint import ModelCard, load_model, save_model
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import Preset, locate_preset
from aczerots.selection.base import Selection, Strategy, choose
from aczerots.selection.limits import Limit, tile_limits
from aczerots.selection.locate import locate_strategy
from aczerots.selection.pool_view import view_pool
from aczerots.simulate.run_folder import RunFolder
from aczerots.simulate.shared import Sharing, bench_for
from aczerots.slides.tiling import common_mpp
from aczerots.storage.files import alone_in

EXPERT = "simulated expert"


def simulate(  # noqa: PLR0913  # keyword-only: each is a choice of its own
    settings: SimulateSettings,
    out: Path,
    *,
    device: str = "cpu",
    cache: Path | None = None,
    progress: Progress | None = None,
    compiled: bool = False,
    trust_remote_code: bool = False,
    sharing: Sharing | None = None,
    pictures: bool = True,
) -> list[dict[str, Any]]:
    """Run the loop, or go on where it stopped; the numbers do not depend on interruptions.

    Args:
        settings: What decides the numbers.
        out: Output folder; made if missing.
        device: Where backbone and model compute.
        cache: Folder of cached grids; None takes the user's cache folder.
        progress: Receives progress.
        compiled: Compile the backbone's forward pass.
        trust_remote_code: Let the backbone's repository run Python code that it brings along.
        sharing: Takes from other runs what they have in common with this one, and gives to them.
        pictures: Write example pictures, thumbnails and ``report.html``.

    Returns:
        One metrics row per round, as in ``metrics.csv``.

    Raises:
        AczerotsError: Any bad input, setting or storage problem, or another process at work in the folder; what was
            saved stays.
    """
    progress, cache = progress or Silent(), cache or cache_folder()
    preset, strategy = locate_preset(settings.preset), locate_strategy(settings.strategy, settings.without)
    folder = RunFolder(out)
    with alone_in(out), closing(folder.open_store()) as store:
        _same_run(store, settings, out)
        started = time.perf_counter()
        opened = sharing.bench if sharing else bench_for
        options = BackboneOptions(settings.refine_with, settings.precision, compiled, trust_remote_code)
        bench = opened(settings, options, device, cache, progress)
        run = _Run(settings, bench, preset, strategy, store, folder, progress)
        run.sharing, run.scratch = sharing, cache
        run.begin(time.perf_counter() - started)
        for number in range(settings.rounds + 1):
            if store.state(number) is RoundState.EVALUATED:
                continue
            if not run.propose(number):
                break
            run.annotate(number)
            run.fit(number)
            run.evaluate(number)
        run.finish(pictures)
        return folder.rows(store, bench)


class _Run:
    """One run in progress: each method does one stage of a round and leaves it saved."""

    def __init__(
        self,
        settings: SimulateSettings,
        bench: Workbench,
        preset: Preset,
        strategy: Strategy,
        store: Store,
        folder: RunFolder,
        progress: Progress,
    ) -> None:
        self.settings, self.bench, self.preset, self.strategy = settings, bench, preset, strategy
        self.store, self.folder, self.progress = store, folder, progress
        self.sharing: Sharing | None = None
        self.scratch: Path | None = None
        self.model: ProZS | None = None
        self.seconds: dict[str, float] = {}

    def begin(self, opening: float) -> None:
        """Record the pool and what the numbers rest on."""
        self.store.set_tiles(self.bench.pool.tiles)
        facts = {
            "backbone": self.bench.backbone.info.hash,
            "taxonomy": self.bench.taxonomy.hash,
            "descriptions": _hash([c.descriptions for c in self.bench.taxonomy.classes]),
            "pool": _hash([(t.id, self.bench.dataset[t.slide].slide.fingerprint) for t in self.bench.pool.tiles]),
        }
        known = self.store.recall("hashes")
        if known is not None and known != facts:
            changed = ", ".join(k for k in facts if known.get(k) != facts[k])
            raise InputError(f"{changed} changed since this run began", where=self.folder.path, fix="Use a new --out")
        self.store.remember("hashes", facts)
        if self.store.recall("opening") is None:
            self.store.remember("opening", {"seconds": opening})

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - started

    def propose(self, number: int) -> bool:
        """Choose the tiles of a round, unless that is done; False when the pool has none left."""
        if self.store.state(number) is not None:
            return True
        self.seconds = {}
        if number and len(self.store.annotations(number - 1)) == len(self.bench.pool.tiles):
            self.progress.say(f"round {number}: no tile left in the pool; the run ends here")
            return False
        with self._timed("select"):
            selection = self._select(number)
        if selection is None:
            self.store.propose(number, [], [], [])
            return True
        parts = [{k: float(v[i]) for k, v in selection.components.items()} for i in range(len(selection.tiles))]
        self.store.propose(number, selection.tiles.tolist(), selection.score.tolist(), parts)
        return True

    def _select(self, number: int) -> Selection | None:
        """The selection of a round; None for round 0, which has none."""
        if number == 0:
            return None
        rng = np.random.default_rng([self.settings.seed, number])
        done = self.store.annotations(number - 1)
        total = len(self.bench.pool.tiles)
        share = self.settings.initial if number == 1 else self.settings.budget
        want, left = max(1, round(share * total)), total - len(done)
        if want > left:
            self.progress.say(f"round {number}: asked for {want} tiles, {left} are left; takes them all")
        by_chance = number == 1 and self.settings.first == "random"
        strategy = locate_strategy("random") if by_chance else self.strategy
        pool = view_pool(
            self._previous(number - 1),
            self.bench.pool.regions,
            self.bench.pool.tiles,
            done,
            self.bench.taxonomy,
            scratch=self.scratch,
        )
        return choose(strategy, replace(pool, limits=self._limits()), want, rng)

    def _limits(self) -> tuple[Limit, ...]:
        """How many tiles of a slide and of a patient a round asks for at most."""
        slides = [t.slide for t in self.bench.pool.tiles]
        patients = {s.slide.id: s.patient for s in self.bench.dataset.samples if s.patient}
        s = self.settings
        return tile_limits(slides, patients, per_slide=s.per_slide, per_patient=s.per_patient)

    def _previous(self, number: int) -> ProZS:
        """The model of a finished round, from memory, from disk, or fitted again."""
        if self.model is None:
            self.model = self._load(number) or self._fresh(number)
        return self.model

    def _load(self, number: int) -> ProZS | None:
        """The saved model if it is that of round ``number``."""
        if not self.folder.model.exists():
            return None
        model, card = load_model(self.folder.model)
        return model.to(self.bench.device) if card.rounds == number else None

    def _fresh(self, number: int) -> ProZS:
        """The model of a round, computed from its annotations; round 0 has none and is zero-shot."""
        zero = locate_preset("zeroshot")
        if number == 0:
            return self.bench.zero_shot(zero, self.settings.seed)
        annotations = self.store.annotations(number)
        if number > 1 or self.sharing is None:
            return self.bench.fitted(self.preset, annotations, self.settings.seed)
        # Tiles of round 1 that are drawn at random are those of other strategies too.
        key = self._key(list(annotations))
        model = self.sharing.model(key)
        if model is not None:
            return model.to(self.bench.device)
        model = self.bench.fitted(self.preset, annotations, self.settings.seed)
        self.sharing.keep_model(key, model, self._card(number))
        return model

    def _key(self, annotated: Sequence[int]) -> str:
        """Name under which the result of these annotations is shared."""
        assert self.sharing is not None
        preset = self.preset.name if annotated else "zeroshot"
        return self.sharing.key(self.bench, preset, self.settings.seed, annotated)

    def _measured(self, annotated: Sequence[int], model: Callable[[], ProZS]) -> dict[str, Any]:
        """Metrics row of the model with these annotations, measured unless another run has done so."""
        if self.sharing is None:
            return self.bench.evaluate(model(), self.progress).row(self.bench.taxonomy)
        key = self._key(annotated)
        row = self.sharing.row(key)
        if row is None:
            row = dict(self.bench.evaluate(model(), self.progress).row(self.bench.taxonomy))
            self.sharing.keep_row(key, row)
        return row

    def annotate(self, number: int) -> None:
        """Let the simulated expert draw what is not drawn yet."""
        picks = [p for p in self.store.picks() if p.round == number]
        done = self.store.annotations(number)
        with self._timed("annotate"):
            for i, pick in enumerate(picks):
                if pick.tile not in done:
                    self.store.annotate(number, pick.tile, self.bench.expert(pick.tile), EXPERT)
                self.progress.step("annotate", i + 1, len(picks))

    def fit(self, number: int) -> None:
        """Fit the model of a round and save it."""
        if self.store.state(number) is RoundState.FITTED:
            self.model = self._load(number)
            if self.model is not None:
                return
        with self._timed("fit"):
            self.model = self._fresh(number)
        save_model(self.folder.model, self.model, self._card(number))
        self.store.advance(number, RoundState.FITTED, seconds=self.seconds)

    def _card(self, number: int) -> ModelCard:
        return ModelCard(
            preset=self.preset.name if number else "zeroshot",
            taxonomy=self.bench.taxonomy,
            backbone=self.bench.backbone.info,
            backbone_hash=self.bench.backbone.info.hash,
            tile_size=self.settings.tile_size,
            mpp=common_mpp(self.bench.pool.tiles),
            rounds=number,
        )

    def evaluate(self, number: int) -> None:
        """Measure the model of a round and show the row."""
        with self._timed("evaluate"):
            annotated = list(self.store.annotations(number))
            metrics = self._measured(annotated, lambda: self._previous(number))
        labelled = len(annotated)
        row = {"labelled_tiles": labelled, "labelled_fraction": labelled / len(self.bench.pool.tiles)} | metrics
        self.store.advance(number, RoundState.EVALUATED, metrics=row, seconds=self.seconds)
        self.seconds = {}
        self.folder.write_tables(self.store, self.bench)
        hiou = f"hIoU {row['hiou']:.3f}  seen {row['miou_seen']:.3f}  unseen {row['miou_unseen']:.3f}"
        self.progress.say(f"round {number}: {labelled} tiles drawn  {hiou}")

    def finish(self, pictures: bool) -> None:
        """Full-label line, tables, pictures and report if wanted."""
        last = max(number for number, _, _ in self.store.results())
        if self.bench.pool.pooled is not None:
            self.progress.say("full-label model: left out, since it needs the whole grids of the pool (--cache dense)")
        elif self.settings.rounds and self.store.recall("full_label") is None:
            self.progress.say("full-label model: fits on the whole pool, for comparison")
            total = len(self.bench.pool.tiles)
            row = {"labelled_tiles": total, "labelled_fraction": 1.0}
            row |= self._measured(range(total), lambda: self._full_label(last))
            self.store.remember("full_label", {k: None if np.isnan(v) else v for k, v in row.items()})
        self.folder.write_tables(self.store, self.bench)
        if pictures:
            self.folder.write_pictures(self.store, self.bench, self._previous(last))
        self.folder.write_record(self.store, self.bench, self.settings)
        if pictures:
            self.folder.write_report()

    def _full_label(self, last: int) -> ProZS:
        """A model that has every drawing; that of the last round if it has them all."""
        total = len(self.bench.pool.tiles)
        if len(self.store.annotations(last)) == total:
            return self._previous(last)
        everything = {i: self.bench.expert(i) for i in range(total)}
        return self.bench.fitted(self.preset, everything, self.settings.seed)


def _same_run(store: Store, settings: SimulateSettings, out: Path) -> None:
    """Refuse to mix two runs in one folder; more rounds of the same run are welcome.

    Raises:
        SettingsError: The folder holds a run with other settings.
    """
    now = settings.model_dump(mode="json")
    known = store.recall("settings")
    if known is not None:
        # Settings that are newer than the run were at their defaults.
        known = read_settings(dataset=settings.dataset).model_dump(mode="json") | known
        # Dense features are the same on disk and in memory.
        alike = {known["cache"], now["cache"]} <= {"dense", "off"}
        different = [k for k in now if known.get(k) != now[k] and k != "rounds" and not (k == "cache" and alike)]
        if different:
            was = ", ".join(f"{k} {known.get(k)!r} (now {now[k]!r})" for k in different)
            raise SettingsError(f"the folder holds a run with other settings: {was}", where=out, fix="Use a new --out")
    store.remember("settings", now)


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
