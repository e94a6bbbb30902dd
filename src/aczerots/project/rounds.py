"""What ``select``, ``fit``, ``evaluate`` and ``run`` do in a project; the loop itself is in ``loop/rounds.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

from aczerots.annotation.store.records import NewDraft, PickRecord, RoundState
from aczerots.errors import SettingsError
from aczerots.loop.answers import count_drawn, drawn_masks
from aczerots.loop.expert import People
from aczerots.loop.pool import Masks, Pool
from aczerots.loop.rounds import OPEN, Ask, Loop, train_or_zero_shot
from aczerots.project.drafts import make_drafts
from aczerots.project.folder import Project
from aczerots.project.measure import cross_validate, unchanged_drafts
from aczerots.project.patients import round_limits
from aczerots.project.running import Running, open_project_pool
from aczerots.project.status import score_note
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import locate_preset
from aczerots.selection.aczerots import covered_fraction
from aczerots.selection.locate import locate_strategy

_HERE = Running()
_LOOK_EVERY = 5.0
"""Seconds between looks at the answers, where nobody says otherwise."""


@dataclass(frozen=True)
class Proposal:
    """A proposed round.

    Attributes:
        number: Of the round.
        picks: The chosen tiles.
        new: False if the round was open already.
    """

    number: int
    picks: Sequence[PickRecord]
    new: bool


@dataclass(frozen=True)
class Fitted:
    """A fitted round.

    Attributes:
        number: Of the round.
        tiles: Tiles with drawings that it was fitted to; 0 is the zero-shot model.
        left: Tiles of the round that nobody has answered for.
        change: Fraction of the pool whose class is another than before, None without a model before.
        file: The model, relative to the project folder.
        miou: Mean IoU of the seen classes on tiles that a model was not fitted to, None if it was not measured.
        note: What must be said beside it, None if nothing.
    """

    number: int
    tiles: int
    left: int
    change: float | None
    file: str
    miou: float | None = None
    note: str | None = None


@final
class ProjectRounds:
    """A lab's project; satisfies :class:`~aczerots.loop.rounds.Setting`.

    Args:
        project: The project.
        running: How to compute.
    """

    def __init__(self, project: Project, running: Running) -> None:
        self._project, self._running = project, running
        self.folder, self.seed = project.folder, project.settings.seed
        self.preset = locate_preset(project.settings.preset)

    def open_pool(self) -> Pool:
        """The tiles of all slides."""
        return open_project_pool(self._project, self._running)

    def model_file(self, number: int) -> str:
        """A file per round."""
        return self._project.model_file(number).relative_to(self.folder).as_posix()

    def train(self, pool: Pool, number: int, masks: Masks) -> ProZS:
        """Trained on what is drawn, zero-shot before."""
        del number
        return train_or_zero_shot(pool, self.preset, masks, self.seed)

    def drafts(self, model: ProZS, pool: Pool, tiles: Sequence[int], name: str) -> list[NewDraft]:
        """What people may start from."""
        project = self._project
        return make_drafts(model, pool, tiles, name, project.tissue, project.cache, self._running.progress)

    def notes(self, before: ProZS | None, model: ProZS, pool: Pool, masks: Masks) -> dict[str, Any]:
        """Drawn tiles, what has changed, and how well the drawn tiles represent the pool.

        The latter as the zero-shot model sees it: the same yardstick in all rounds.
        """
        drawn = count_drawn(masks)
        if drawn:
            self._running.progress.say(f"fitted to {drawn} tiles")
        else:
            self._running.progress.say("nothing drawn yet: the zero-shot model")
        change = None if before is None else pool.changed(before, model)
        yardstick = pool.untrained(locate_preset("zeroshot"), self.seed)
        return {"drawn_tiles": drawn, "change": change, "coverage": covered_fraction(pool.view(yardstick, masks))}

    def evaluate(self, model: Callable[[], ProZS], pool: Pool, number: int, masks: Masks) -> dict[str, Any] | None:
        """Measure by cross-validation: nobody draws test tiles in a lab."""
        del model
        project, progress = self._project, self._running.progress
        found = cross_validate(
            pool,
            masks,
            project.settings.folds,
            lambda part: self.train(pool, number, part),
            project.tissue,
            project.cache,
            progress,
            unchanged=unchanged_drafts(project.store, number, project.taxonomy),
        )
        if not found:
            return None
        progress.say(
            f"round {number}: mIoU of drawn classes {found['miou_seen']:.3f}, "
            f"on {found['measured_tiles']} tiles that were left out of {found['folds']} fits"
        )
        return found


def project_loop(project: Project, running: Running, every: float = _LOOK_EVERY) -> Loop:
    """The loop of a project, whose experts are people; ``every`` is the seconds between looks at their answers."""
    people = People(every, running.progress)
    return Loop(project.store, ProjectRounds(project, running), people, running.progress, project.cache)


def propose_round(  # keyword-only: each stands in for a setting of the project
    project: Project,
    running: Running = _HERE,
    *,
    strategy: str | None = None,
    budget: int | None = None,
    per_slide: int | None = None,
    per_patient: int | None = None,
    loop: Loop | None = None,
) -> Proposal:
    """Choose the tiles of the next round and draft them; nothing happens if a round is open.

    Args:
        project: The project.
        running: How to compute.
        strategy: Instead of the project's.
        budget: Tiles, instead of the project's.
        per_slide: Tiles of one slide at most, instead of the project's.
        per_patient: Tiles of one patient at most, instead of the project's.
        loop: The project's loop if it is open already.

    Raises:
        SettingsError: Unknown strategy, no tile is left, or a limit per patient without a patient.
        AczerotsError: A slide, the backbone or the disk fails; the round is not proposed then.
    """
    newest, settings = project.store.rounds.newest(), project.settings
    if newest is not None and newest.number > 0 and newest.state in OPEN:
        return Proposal(newest.number, project.store.rounds.picks(newest.number), new=False)
    chosen = locate_strategy(strategy or settings.strategy)
    limits = round_limits(project.folder, settings, project.store.rounds.tiles(), per_slide, per_patient)
    ask = Ask(chosen, budget or settings.budget, limits, settings.double)
    picks = (loop or project_loop(project, running)).select(ask)
    if not picks:
        raise SettingsError("no tile is left to draw", fix="Add slides with: aczerots import")
    return Proposal(picks[0].round, picks, new=True)


def fit_round(project: Project, running: Running = _HERE, *, measure: bool = True, loop: Loop | None = None) -> Fitted:
    """Fit the newest round to all answers there are; again with newer answers if it is fitted already.

    Args:
        project: The project.
        running: How to compute.
        measure: Measure it too (:func:`measure_round`); takes a fit per part.
        loop: The project's loop if it is open already.

    Raises:
        SettingsError: Nothing has been answered in the open round.
        AczerotsError: A slide, the backbone or the disk fails; the round stays as it is then.
    """
    newest = project.store.rounds.newest()
    if newest is None:
        raise SettingsError("there is no round yet", fix="Run: aczerots select")
    number = newest.number
    if number > 0 and newest.state is RoundState.PROPOSED:
        raise SettingsError(f"nobody has answered in round {number} yet", fix="Annotate, or: aczerots export")
    loop = loop or project_loop(project, running)
    drawn = count_drawn(loop.fit(number))
    found = loop.evaluate(number) if measure and drawn else None
    left = next(r.left for r in project.store.progress().rounds if r.number == number)
    done = next(r for r in project.store.rounds.all() if r.number == number)
    miou = None if found is None else float(found["miou_seen"])
    return Fitted(number, drawn, left, (done.metrics or {})["change"], done.model or "", miou, score_note(found or {}))


def measure_round(project: Project, running: Running, *, needed: bool = True) -> dict[str, Any]:
    """Measure the newest fitted round again by cross-validation (:func:`~aczerots.project.measure.cross_validate`).

    Args:
        project: The project.
        running: How to compute.
        needed: Refuse where there is nothing to measure on, else give no metrics then.

    Returns:
        All metrics of the round.

    Raises:
        SettingsError: It is needed, and no round is fitted to a drawing, or there is nothing to divide.
        AczerotsError: A slide, the backbone or the disk fails.
    """
    fitted = [r.number for r in project.store.rounds.all() if r.state not in OPEN]
    if not fitted or not count_drawn(drawn_masks(project.store, fitted[-1], project.taxonomy)):
        if not needed:
            return {}
        fix = "Draw tiles, then run: aczerots fit"
        raise SettingsError("no round is fitted to a drawing yet", where=project.folder, fix=fix)
    loop = project_loop(project, running)
    if loop.evaluate(fitted[-1]) is None:
        if not needed:
            return {}
        fix = "Draw on another slide or tile, or set folds in project.yaml"
        raise SettingsError("there is nothing to measure on", where=project.folder, fix=fix)
    done = loop.round(fitted[-1])
    return {} if done is None else dict(done.metrics or {})


def go_round(project: Project, running: Running, every: float) -> Fitted:
    """Propose a round unless one is open, wait until every tile has its answer, and fit.

    Answers may come from anywhere: the page, ``ingest``, another machine. Stopping while it waits loses nothing.

    Args:
        project: The project.
        running: How to compute.
        every: Seconds between looks at the answers.

    Raises:
        AczerotsError: As :func:`propose_round` and :func:`fit_round`.
    """
    loop = project_loop(project, running, every)
    proposal = propose_round(project, running, loop=loop)
    running.progress.say(f"round {proposal.number}: waits for the answers. {project.next_step()}")
    loop.expert.answer(project.store, proposal.number)
    return fit_round(project, running, loop=loop)
