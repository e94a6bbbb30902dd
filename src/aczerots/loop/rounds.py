"""The loop of active learning: zero-shot, then select, annotate, fit, evaluate, round after round.

Simulated runs, a lab's project, its page and the command ``run`` all go through :class:`Loop`. Every stage ends in one
transaction of the store, so that an interrupted loop goes on where it stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from aczerots.annotation.store.records import NewDraft, PickRecord, RoundRecord, RoundState
from aczerots.annotation.store.store import ProjectStore
from aczerots.engine.progress import Progress
from aczerots.loop.answers import count_drawn, drawn_masks, known_masks
from aczerots.loop.expert import Expert
from aczerots.loop.pool import Masks, Pool
from aczerots.prozs.checkpoint import load_model, save_model
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import Preset, locate_preset
from aczerots.selection.base import Selection, Strategy, choose
from aczerots.selection.limits import Limit

OPEN = (RoundState.PROPOSED, RoundState.ANNOTATING)
"""States of a round that is not fitted yet."""


@dataclass(frozen=True)
class Ask:
    """What a round asks an expert for.

    Attributes:
        strategy: What chooses the tiles.
        budget: Number of tiles, at least 1.
        limits: At most so many tiles of a slide or patient.
        double: Fraction of the tiles that two people draw, neither seeing the other's drawing.
    """

    strategy: Strategy
    budget: int
    limits: tuple[Limit, ...] = ()
    double: float = 0.0


class Setting(Protocol):
    """What differs between a simulated run and a project."""

    @property
    def folder(self) -> Path:
        """Folder of the run or project."""

    @property
    def preset(self) -> Preset:
        """Which model is trained."""

    @property
    def seed(self) -> int:
        """Seed of everything random."""

    def open_pool(self) -> Pool:
        """The pool with its features."""

    def model_file(self, number: int) -> str:
        """File of the model of a round, relative to the folder."""

    def train(self, pool: Pool, number: int, masks: Masks) -> ProZS:
        """The model of a round; see :func:`train_or_zero_shot`."""

    def drafts(self, model: ProZS, pool: Pool, tiles: Sequence[int], name: str) -> list[NewDraft]:
        """The model's proposals for chosen tiles; ``name`` says which model made them."""

    def notes(self, before: ProZS | None, model: ProZS, pool: Pool, masks: Masks) -> Mapping[str, Any]:
        """What is noted of a fitted model; ``before`` is that of the round before."""

    def evaluate(self, model: Callable[[], ProZS], pool: Pool, number: int, masks: Masks) -> Mapping[str, Any] | None:
        """Metrics of a round, whose model is trained if it must be; None if nothing can be measured."""


class Loop:
    """The rounds of one run or project.

    Args:
        store: Where everything is kept that must not be lost.
        setting: What differs between a simulated run and a project.
        expert: Answers for the chosen tiles.
        progress: Receives progress.
        scratch: Folder for views of the pool that are too large for memory.
    """

    def __init__(
        self,
        store: ProjectStore,
        setting: Setting,
        expert: Expert,
        progress: Progress,
        scratch: Path | None = None,
    ) -> None:
        self.store, self.setting, self.expert = store, setting, expert
        self._progress, self._scratch = progress, scratch
        self._held: tuple[int, ProZS] | None = None

    @cached_property
    def pool(self) -> Pool:
        """The pool, opened when it is first needed."""
        return self.setting.open_pool()

    def round(self, number: int) -> RoundRecord | None:
        """A round as the store knows it."""
        return next((r for r in self.store.rounds.all() if r.number == number), None)

    def run(self, last: int, ask: Callable[[int], Ask]) -> None:
        """Go from the zero-shot model to round ``last``, or until no tile is left; finished rounds are passed over."""
        for number in range(last + 1):
            known = self.round(number)
            if known is not None and known.state is RoundState.EVALUATED:
                continue
            if known is None and number == 0:
                self.store.rounds.propose(0, "zeroshot", [])
            elif known is None and not self.select(ask(number)):
                self._progress.say(f"round {number}: no tile left in the pool; the run ends here")
                break
            self.turn(number)

    def turn(self, number: int) -> None:
        """Let the expert answer for the tiles of a round, fit its model and evaluate it."""
        started = time.perf_counter()
        self.expert.answer(self.store, number)
        annotating = time.perf_counter() - started
        known = self.round(number)
        if known is None or known.state in OPEN or self._load(number) is None:
            self.fit(number, annotating)
        self.evaluate(number)

    def select(self, ask: Ask) -> Sequence[PickRecord]:
        """Choose the tiles of the next round; a round that is open is given as it is. Empty if no tile is left."""
        newest = self.store.rounds.newest()
        if newest is None:
            self.store.rounds.propose(0, "zeroshot", [])
            newest = self.store.rounds.all()[-1]
        if newest.number and newest.state in OPEN:
            return self.store.rounds.picks(newest.number)
        known = known_masks(self.store)
        number, left = newest.number + 1, len(self.store.rounds.tiles()) - len(known)
        if not left:
            return []
        if newest.state in OPEN:
            self.fit(newest.number)
        started = time.perf_counter()
        if ask.budget > left:
            self._progress.say(f"round {number}: asked for {ask.budget} tiles, {left} are left; takes them all")
        self._progress.say(f"round {number}: {ask.strategy.name} looks at {len(self.pool.tiles)} tiles")
        model, rng = self.model(newest.number), np.random.default_rng([self.setting.seed, number])
        self._progress.step("select", 0, 0)
        view = replace(self.pool.view(model, known, self._scratch), limits=ask.limits)
        selection = choose(ask.strategy, view, ask.budget, rng)
        picks = _picks(number, selection, _readings(len(selection.tiles), ask.double, rng))
        drafts = self.setting.drafts(model, self.pool, [p.tile for p in picks], f"round-{newest.number}")
        self.store.rounds.propose(number, ask.strategy.name, picks, drafts)
        self.store.rounds.advance(number, RoundState.PROPOSED, seconds={"select": time.perf_counter() - started})
        return picks

    def fit(self, number: int, annotating: float = 0.0) -> Masks:
        """Fit the model of a round to all answers there are and save it; gives what it was fitted to.

        ``annotating`` is the seconds that the answers took, which are kept with those of the fit.
        """
        started = time.perf_counter()
        self._progress.step("fit", 0, 0)
        before, masks = self._load(number - 1), drawn_masks(self.store, number, self.pool.taxonomy)
        model = self.setting.train(self.pool, number, masks)
        notes = self.setting.notes(before, model, self.pool, masks)
        file = self.setting.model_file(number)
        save_model(
            self.setting.folder / file,
            model,
            self.pool.card(self.setting.preset.name if count_drawn(masks) else "zeroshot", number),
        )
        self._held = number, model
        known = self.round(number)
        state = RoundState.FITTED if known is None or known.state in OPEN else known.state
        seconds = {"annotate": annotating, "fit": time.perf_counter() - started}
        self.store.rounds.advance(number, state, model=file, metrics=notes, seconds=seconds)
        return masks

    def evaluate(self, number: int) -> Mapping[str, Any] | None:
        """Measure the model of a round; None if there is nothing to measure on."""
        started = time.perf_counter()
        masks = drawn_masks(self.store, number, self.pool.taxonomy)
        found = self.setting.evaluate(lambda: self.model(number), self.pool, number, masks)
        if found is not None:
            known = self.round(number)
            metrics = {**((known.metrics if known else None) or {}), **found}
            seconds = {"evaluate": time.perf_counter() - started}
            self.store.rounds.advance(number, RoundState.EVALUATED, metrics=metrics, seconds=seconds)
        return found

    def model(self, number: int) -> ProZS:
        """The model of a fitted round: from memory, from its file, or trained again."""
        if self._held is None or self._held[0] != number:
            found = self._load(number)
            if found is None:
                found = self.setting.train(self.pool, number, drawn_masks(self.store, number, self.pool.taxonomy))
            self._held = number, found
        return self._held[1]

    def _load(self, number: int) -> ProZS | None:
        """The saved model of a round; None if there is none, or it is of another backbone or other classes."""
        if self._held is not None and self._held[0] == number:
            return self._held[1]
        file = self.setting.folder / self.setting.model_file(number)
        if number < 0 or not file.exists():
            return None
        model, card = load_model(file)
        same = card.backbone_hash == self.pool.backbone.info.hash and card.taxonomy == self.pool.taxonomy
        return model.to(self.pool.device) if same and card.rounds == number else None


def train_or_zero_shot(pool: Pool, preset: Preset, masks: Masks, seed: int) -> ProZS:
    """A model trained from scratch on what is drawn; the zero-shot model where nothing is."""
    if not count_drawn(masks):
        return pool.untrained(locate_preset("zeroshot"), seed)
    return pool.train(preset, masks, seed)


def _picks(number: int, selection: Selection, readings: Sequence[int]) -> list[PickRecord]:
    """The chosen tiles with every score component."""
    parts = [{k: float(v[i]) for k, v in selection.components.items()} for i in range(len(selection.tiles))]
    chosen = zip(selection.tiles, selection.score, parts, readings, strict=True)
    return [
        PickRecord(number, i + 1, int(tile), float(score), components, wanted)
        for i, (tile, score, components, wanted) in enumerate(chosen)
    ]


def _readings(tiles: int, double: float, rng: np.random.Generator) -> list[int]:
    """2 for a random fraction of the tiles, 1 for the others."""
    twice = set(rng.permutation(tiles)[: math.ceil(double * tiles)].tolist())
    return [2 if i in twice else 1 for i in range(tiles)]
