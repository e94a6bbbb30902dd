"""Active learning on labelled images with a simulated expert. Read :func:`simulate` first."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any, final

from aczerots.annotation.store.records import NewDraft, SlideRecord
from aczerots.annotation.store.rows import without_nan
from aczerots.annotation.store.store import ProjectStore
from aczerots.backbones.options import BackboneOptions
from aczerots.config import SimulateSettings, cache_folder
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import InputError, SettingsError
from aczerots.loop.expert import SimulatedExpert
from aczerots.loop.pool import Masks, Pool
from aczerots.loop.rounds import Ask, Loop, train_or_zero_shot
from aczerots.predict.segmenter import Segmenter
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import locate_preset
from aczerots.selection.limits import Limit, tile_limits
from aczerots.selection.locate import locate_strategy
from aczerots.simulation.run_folder import MODEL, RunFolder
from aczerots.simulation.shared import OpenDataset, Sharing, open_dataset
from aczerots.storage.files import alone_in


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
        cache: Folder of cached features; None takes the user's cache folder.
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
    # Wrong names are told before anything is opened.
    locate_preset(settings.preset)
    locate_strategy(settings.strategy, settings.without)
    folder = RunFolder(out)
    with alone_in(out), closing(folder.open_store()) as store:
        _same_run(store, settings, out)
        started = time.perf_counter()
        options = BackboneOptions(settings.refine_with, settings.precision, compiled, trust_remote_code)
        opened = (sharing.open if sharing else open_dataset)(settings, options, device, cache, progress)
        _same_pool(store, opened, out)
        if store.rounds.recall("opening") is None:
            store.rounds.remember("opening", {"seconds": time.perf_counter() - started})
        run = SimulatedRun(settings, opened, sharing, folder, store, progress)
        truth = {s.slide.id: s.truth for s in opened.evaluation.dataset.samples}
        expert = SimulatedExpert(truth, opened.pool.taxonomy, progress)
        loop = Loop(store, run, expert, progress, scratch=cache)
        loop.run(settings.rounds, run.ask)
        run.finish(loop, expert, pictures)
        return folder.rows(store, opened.pool.taxonomy)


@final
class SimulatedRun:
    """A run on labelled images; satisfies :class:`~aczerots.loop.rounds.Setting`.

    Args:
        settings: What decides the numbers.
        opened: Pool and evaluation.
        sharing: What the run has in common with others.
        folder: The output folder.
        store: Its database.
        progress: Receives progress.
    """

    def __init__(
        self,
        settings: SimulateSettings,
        opened: OpenDataset,
        sharing: Sharing | None,
        folder: RunFolder,
        store: ProjectStore,
        progress: Progress,
    ) -> None:
        self._settings, self._opened, self._sharing = settings, opened, sharing
        self._files, self._store, self._progress = folder, store, progress
        self.folder, self.seed, self.preset = folder.path, settings.seed, locate_preset(settings.preset)

    def ask(self, number: int) -> Ask:
        """What round ``number`` asks for."""
        s = self._settings
        by_chance = number == 1 and s.first == "random"
        strategy = locate_strategy("random") if by_chance else locate_strategy(s.strategy, s.without)
        fraction = s.initial if number == 1 else s.budget
        return Ask(strategy, max(1, round(fraction * len(self._opened.pool.tiles))), self._limits())

    def _limits(self) -> tuple[Limit, ...]:
        """How many tiles of a slide and of a patient a round asks for at most."""
        slides = [t.slide for t in self._opened.pool.tiles]
        patients = {s.slide.id: s.patient for s in self._opened.evaluation.dataset.samples if s.patient}
        return tile_limits(slides, patients, per_slide=self._settings.per_slide, per_patient=self._settings.per_patient)

    def open_pool(self) -> Pool:
        """The pool, which is open already."""
        return self._opened.pool

    def model_file(self, number: int) -> str:
        """The one model of the folder; it says of which round it is."""
        del number
        return MODEL

    def train(self, pool: Pool, number: int, masks: Masks) -> ProZS:
        """The model of a round, or that of another run that fitted the same."""

        def trained() -> ProZS:
            return train_or_zero_shot(pool, self.preset, masks, self.seed)

        # Tiles of round 1 that are drawn at random are those of other strategies too.
        if number != 1 or self._sharing is None:
            return trained()
        return self._sharing.model(self._key(list(masks)), pool.card(self.preset.name, number), trained).to(pool.device)

    def drafts(self, model: ProZS, pool: Pool, tiles: Sequence[int], name: str) -> list[NewDraft]:
        """None: the simulated expert starts from an empty tile."""
        del model, pool, tiles, name
        return []

    def notes(self, before: ProZS | None, model: ProZS, pool: Pool, masks: Masks) -> Mapping[str, Any]:
        """Nothing: the evaluation says it better."""
        del before, model, pool, masks
        return {}

    def evaluate(self, model: Callable[[], ProZS], pool: Pool, number: int, masks: Masks) -> dict[str, Any]:
        """Measure the model on the test slides, unless another run has measured the same, and show the row."""
        row = self._row(list(masks), model)
        self._progress.say(
            f"round {number}: {len(masks)} tiles drawn  hIoU {row['hiou']:.3f}  "
            f"seen {row['miou_seen']:.3f}  unseen {row['miou_unseen']:.3f}"
        )
        return row

    def _row(self, annotated: Sequence[int], model: Callable[[], ProZS]) -> dict[str, Any]:
        """Columns of ``metrics.csv`` for a model fitted to some tiles."""

        def measured() -> dict[str, Any]:
            pool = self._opened.pool
            segmenter = Segmenter(model(), pool.card(self.preset.name, 0), pool.backbone)
            return dict(self._opened.evaluation.measure(segmenter, self._progress).row(pool.taxonomy))

        metrics = measured() if self._sharing is None else self._sharing.row(self._key(annotated), measured)
        fraction = len(annotated) / len(self._opened.pool.tiles)
        return {"labelled_tiles": len(annotated), "labelled_fraction": fraction} | metrics

    def _key(self, annotated: Sequence[int]) -> str:
        """Name under which the result of these annotations is shared."""
        assert self._sharing is not None
        preset = self.preset.name if annotated else "zeroshot"
        return self._sharing.key(self._opened, preset, self.seed, annotated)

    def finish(self, loop: Loop, expert: SimulatedExpert, pictures: bool) -> None:
        """Full-label line, tables, pictures and report if wanted."""
        pool, store = self._opened.pool, self._store
        last = max(r.number for r in store.rounds.all() if r.metrics)
        if pool.coarse is not None:
            self._progress.say(
                "full-label model: left out, since it needs the whole features of the pool (--cache dense)"
            )
        elif self._settings.rounds and store.rounds.recall("full_label") is None:
            self._progress.say("full-label model: fits on the whole pool, for comparison")
            row = self._row(range(len(pool.tiles)), lambda: self._full_label(loop, expert, last))
            store.rounds.remember("full_label", without_nan(row))
        self._files.write_tables(store, pool)
        if pictures:
            segmenter = Segmenter(loop.model(last), pool.card(self.preset.name, last), pool.backbone)
            self._files.write_pictures(store, self._opened, segmenter)
        self._files.write_record(store, self._opened, self._settings)
        if pictures:
            self._files.write_report()

    def _full_label(self, loop: Loop, expert: SimulatedExpert, last: int) -> ProZS:
        """A model that has every drawing; that of the last round if it has them all."""
        pool = self._opened.pool
        if len(self._store.answers.answered()) == len(pool.tiles):
            return loop.model(last)
        everything = {i: expert.draw(tile) for i, tile in enumerate(pool.tiles)}
        return pool.train(self.preset, everything, self.seed)


def _same_run(store: ProjectStore, settings: SimulateSettings, out: Path) -> None:
    """Refuse to mix two runs in one folder; more rounds of the same run are welcome.

    Raises:
        SettingsError: The folder holds a run with other settings.
    """
    now = settings.model_dump(mode="json")
    known = store.rounds.recall("settings")
    if known is not None:
        # Settings that are newer than the run were at their defaults.
        known = SimulateSettings(dataset=settings.dataset).model_dump(mode="json") | known
        # Dense features are the same on disk and in memory.
        alike = {known["cache"], now["cache"]} <= {"dense", "off"}
        different = [k for k in now if known.get(k) != now[k] and k != "rounds" and not (k == "cache" and alike)]
        if different:
            was = ", ".join(f"{k} {known.get(k)!r} (now {now[k]!r})" for k in different)
            raise SettingsError(f"the folder holds a run with other settings: {was}", where=out, fix="Use a new --out")
    store.rounds.remember("settings", now)


def _same_pool(store: ProjectStore, opened: OpenDataset, out: Path) -> None:
    """Record the pool and what the numbers rest on, or check that they are the recorded ones.

    Raises:
        InputError: Images, masks, classes, descriptions or backbone have changed.
    """
    pool = opened.pool
    now = {
        "backbone": pool.backbone.info.hash,
        "taxonomy": pool.taxonomy.hash,
        "descriptions": _hash([c.descriptions for c in pool.taxonomy.classes]),
        "pool": _hash([(t.id, pool.slides[t.slide].fingerprint) for t in pool.tiles]),
        "test": _hash([(s.slide.id, s.slide.fingerprint) for s in opened.evaluation.samples]),
        "masks": opened.truth,
    }
    known = store.rounds.recall("hashes")
    if known is None:
        by_slide = [(pool.slides[slide], list(tiles)) for slide, tiles in groupby(pool.tiles, key=lambda t: t.slide)]
        records = [(SlideRecord(s.id, s.id, s.fingerprint, *s.size, s.mpp), tiles) for s, tiles in by_slide]
        store.rounds.add_slides(records)
        store.rounds.remember("hashes", now)
        return
    # A run that an older version began lacks the newer hashes.
    changed = [k for k in now if known.get(k, now[k]) != now[k]]
    if changed:
        what = f"{', '.join(changed)} changed since this run began"
        raise InputError(what, where=out, fix="Use a new --out, or put the old files back")
    store.rounds.remember("hashes", now)


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
