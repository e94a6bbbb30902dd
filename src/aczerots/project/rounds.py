"""The loop of a project: propose a round, fit its model. Read :func:`propose_round` and :func:`fit_round`."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.masks import decode_mask
from aczerots.annotation.store.records import AnswerKind, NewDraft, PickRecord, RoundRecord, RoundState
from aczerots.errors import SettingsError
from aczerots.loop.workbench import Workbench
from aczerots.predict.segmenter import tile_probabilities
from aczerots.project.bench import Running, open_bench
from aczerots.project.drafts import draft_geometry, draft_mask
from aczerots.project.folder import Project
from aczerots.project.measure import cross_validate
from aczerots.project.part import Part
from aczerots.project.patients import round_limits
from aczerots.prozs.checkpoint import ModelCard, load_model, save_model
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import locate_preset
from aczerots.selection.aczerots import covered_fraction
from aczerots.selection.base import choose
from aczerots.selection.locate import locate_strategy
from aczerots.selection.pool_view import changed_fraction, view_pool
from aczerots.taxonomy import IGNORE, NO_SEEN, Taxonomy

_OPEN = (RoundState.PROPOSED, RoundState.ANNOTATING)


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
        change: Share of the pool whose class is another than before, None without a model before.
        file: The model.
        miou: Mean IoU of the seen classes on tiles that a model was not fitted to, None if it was not measured.
    """

    number: int
    tiles: int
    left: int
    change: float | None
    file: str
    miou: float | None = None


def propose_round(  # keyword-only: each stands in for a setting of the project
    project: Project,
    running: Running,
    *,
    strategy: str | None = None,
    budget: int | None = None,
    per_slide: int | None = None,
    per_patient: int | None = None,
) -> Proposal:
    """Choose the tiles of the next round and draft them; nothing happens if a round is open.

    Args:
        project: The project.
        running: How to compute.
        strategy: Instead of the project's.
        budget: Tiles, instead of the project's.
        per_slide: Tiles of one slide at most, instead of the project's.
        per_patient: Tiles of one patient at most, instead of the project's.

    Raises:
        SettingsError: Unknown strategy, no tile is left, or a limit per patient without a patient.
        AczerotsError: A slide, the backbone or the disk fails; the round is not proposed then.
    """
    rounds = project.store.rounds
    newest = rounds.newest()
    if newest is None:
        rounds.propose(0, "zeroshot", [])
        newest = rounds.all()[-1]
    if newest.number > 0 and newest.state in _OPEN:
        return Proposal(newest.number, rounds.picks(newest.number), new=False)
    chosen = locate_strategy(strategy or project.settings.strategy)
    done = _known(project)
    if len(done) == len(rounds.tiles()) > 0:
        raise SettingsError("no tile is left to draw", fix="Add slides with: aczerots import")
    limits = round_limits(project, rounds.tiles(), per_slide, per_patient)
    bench = open_bench(project, running)
    if newest.state in _OPEN:
        _fit(project, bench, newest, running, measure=False)
    started = time.perf_counter()
    number = newest.number + 1
    model = _model(project, bench, newest.number)
    running.progress.say(f"round {number}: {chosen.name} looks at {len(bench.pool.tiles)} tiles")
    running.progress.step("select", 0, 0)
    pool = view_pool(model, bench.pool.regions, bench.pool.tiles, done, bench.taxonomy, scratch=project.cache)
    rng = np.random.default_rng([project.settings.seed, number])
    selection = choose(chosen, replace(pool, limits=limits), budget or project.settings.budget, rng)
    readings = _readings(len(selection.tiles), project.settings.double, rng)
    picks = [
        PickRecord(
            number,
            i + 1,
            int(tile),
            float(selection.score[i]),
            {k: float(v[i]) for k, v in selection.components.items()},
            readings[i],
        )
        for i, tile in enumerate(selection.tiles)
    ]
    drafts = make_drafts(model, bench, [p.tile for p in picks], f"round-{newest.number}")
    rounds.propose(number, chosen.name, picks, drafts)
    rounds.advance(number, RoundState.PROPOSED, seconds={"select": time.perf_counter() - started})
    return Proposal(number, picks, new=True)


def fit_round(project: Project, running: Running, *, measure: bool = True) -> Fitted:
    """Fit the newest round to all answers there are; again with newer answers if it is fitted already.

    Args:
        project: The project.
        running: How to compute.
        measure: Measure it too, see :func:`measure_round`; takes a fit per part.

    Raises:
        SettingsError: Nothing has been answered in the open round.
        AczerotsError: A slide, the backbone or the disk fails; the round stays as it is then.
    """
    newest = project.store.rounds.newest()
    if newest is None:
        raise SettingsError("there is no round yet", fix="Run: aczerots select")
    if newest.number > 0 and newest.state is RoundState.PROPOSED:
        raise SettingsError(f"nobody has answered in round {newest.number} yet", fix="Annotate, or: aczerots export")
    return _fit(project, open_bench(project, running), newest, running, measure)


def _fit(project: Project, bench: Workbench, round_: RoundRecord, running: Running, measure: bool) -> Fitted:
    started = time.perf_counter()
    running.progress.step("fit", 0, 0)
    number = round_.number
    before = _load(project, bench, number - 1)
    masks = drawn_masks(project, number, bench.taxonomy)
    model = _fresh(project, bench, masks)
    change = None if before is None else _change(before, model, bench)
    file = project.model_file(number)
    card = ModelCard(
        preset=project.settings.preset if _drawn(masks) else "zeroshot",
        taxonomy=bench.taxonomy,
        backbone=bench.backbone.info,
        backbone_hash=bench.backbone.info.hash,
        tile_size=project.settings.tile_size,
        mpp=project.settings.mpp,
        rounds=number,
    )
    save_model(file, model, card)
    place = file.relative_to(project.folder).as_posix()
    metrics = {"drawn_tiles": _drawn(masks), "change": change, "coverage": _coverage(project, bench, masks)}
    seconds = {"fit": time.perf_counter() - started}
    state = max(RoundState.FITTED, round_.state, key=list(RoundState).index)
    project.store.rounds.advance(number, state, model=place, metrics=metrics, seconds=seconds)
    left = next(r.left for r in project.store.progress().rounds if r.number == number)
    what = f"fitted to {_drawn(masks)} tiles" if _drawn(masks) else "nothing drawn yet: the zero-shot model"
    running.progress.say(f"round {number}: {what}")
    miou = _measure(project, bench, number, masks, running) if measure and _drawn(masks) else None
    return Fitted(number, _drawn(masks), left, change, place, miou)


def measure_round(project: Project, running: Running, *, needed: bool = True) -> dict[str, Any]:
    """Measure the newest fitted round again; gives its metrics. See :func:`~aczerots.project.measure.cross_validate`.

    Args:
        project: The project.
        running: How to compute.
        needed: Refuse where there is nothing to measure on, else give no metrics then.

    Raises:
        SettingsError: It is needed, and no round is fitted to a drawing, or there is nothing to divide.
        AczerotsError: A slide, the backbone or the disk fails.
    """
    fitted = [r for r in project.store.rounds.all() if r.state not in _OPEN]
    masks = drawn_masks(project, fitted[-1].number, project.taxonomy) if fitted else {}
    if not fitted or not _drawn(masks):
        if not needed:
            return {}
        fix = "Draw tiles, then run: aczerots fit"
        raise SettingsError("no round is fitted to a drawing yet", where=project.folder, fix=fix)
    if _measure(project, open_bench(project, running), fitted[-1].number, masks, running) is None:
        if not needed:
            return {}
        fix = "Draw on another slide or tile, or set folds in project.yaml"
        raise SettingsError("there is nothing to measure on", where=project.folder, fix=fix)
    return dict(next(r for r in project.store.rounds.all() if r.number == fitted[-1].number).metrics or {})


def _measure(
    project: Project, bench: Workbench, number: int, masks: dict[int, NDArray[np.uint8]], running: Running
) -> float | None:
    """Measure a round and note it; gives its mean IoU of seen classes, None if there is nothing to measure on."""
    started = time.perf_counter()
    found = cross_validate(
        bench, masks, project.settings.folds, lambda part: _fresh(project, bench, part), running.progress
    )
    if not found:
        return None
    known = next(r for r in project.store.rounds.all() if r.number == number).metrics or {}
    seconds = {"evaluate": time.perf_counter() - started}
    project.store.rounds.advance(number, RoundState.EVALUATED, metrics={**known, **found}, seconds=seconds)
    running.progress.say(
        f"round {number}: mIoU of drawn classes {found['miou_seen']:.3f}, "
        f"on {found['measured_tiles']} tiles that were left out of {found['folds']} fits"
    )
    return float(found["miou_seen"])


def _coverage(project: Project, bench: Workbench, masks: dict[int, NDArray[np.uint8]]) -> float:
    """How well the drawn tiles represent the pool, as the zero-shot model sees it: the same yardstick in all rounds."""
    model = bench.zero_shot(locate_preset("zeroshot"), project.settings.seed)
    return covered_fraction(view_pool(model, bench.pool.regions, bench.pool.tiles, masks, bench.taxonomy))


def drawn_masks(project: Project, up_to: int, taxonomy: Taxonomy) -> dict[int, NDArray[np.uint8]]:
    """What a fit sees: label ids uint8 [size, size] of seen classes by position, unseen ones are IGNORE.

    Tiles of which an expert says that no seen class is there are NO_SEEN inside their box.
    """
    keep = np.zeros(256, dtype=bool)
    keep[list(taxonomy.seen_ids)] = True
    tiles, out = project.store.rounds.tiles(), {}
    for answer in project.store.answers.counting(up_to):
        tile = tiles[answer.tile]
        if answer.mask is not None:
            mask = decode_mask(answer.mask)
            out[answer.tile] = np.where(keep[mask], mask, np.uint8(IGNORE))
        elif answer.kind is AnswerKind.NO_SEEN_CLASS:
            out[answer.tile] = np.full((tile.size, tile.size), IGNORE, dtype=np.uint8)
            out[answer.tile][tile.inner] = NO_SEEN
    return out


def _drawn(masks: dict[int, NDArray[np.uint8]]) -> int:
    """Tiles with at least one drawn pixel."""
    return sum(bool((m < NO_SEEN).any()) for m in masks.values())


def _known(project: Project) -> dict[int, NDArray[np.uint8]]:
    """Masks of the tiles that need not be asked for again; all IGNORE where an expert could not tell."""
    out = project.store.answers.masks()
    size = project.settings.tile_size
    for answer in project.store.answers.counting():
        if answer.kind is AnswerKind.CANNOT_TELL:
            out[answer.tile] = np.full((size, size), IGNORE, dtype=np.uint8)
    return dict(sorted(out.items()))


def _readings(tiles: int, share: float, rng: np.random.Generator) -> list[int]:
    """2 for a random share of the tiles, 1 for the others."""
    twice = set(rng.permutation(tiles)[: math.ceil(share * tiles)].tolist())
    return [2 if i in twice else 1 for i in range(tiles)]


def _fresh(project: Project, bench: Workbench, masks: dict[int, NDArray[np.uint8]]) -> ProZS:
    """A model fitted from scratch; zero-shot if nothing is drawn."""
    seed = project.settings.seed
    if not _drawn(masks):
        return bench.zero_shot(locate_preset("zeroshot"), seed)
    return bench.fitted(locate_preset(project.settings.preset), masks, seed)


def _model(project: Project, bench: Workbench, number: int) -> ProZS:
    """The model of a fitted round, from its file or fitted again."""
    found = _load(project, bench, number)
    return found or _fresh(project, bench, drawn_masks(project, number, bench.taxonomy))


def _load(project: Project, bench: Workbench, number: int) -> ProZS | None:
    """The saved model of a round; None if there is none, or it is of another backbone or other classes."""
    file = project.model_file(number)
    if number < 0 or not file.exists():
        return None
    model, card = load_model(file)
    same = card.backbone_hash == bench.backbone.info.hash and card.taxonomy == bench.taxonomy
    return model.to(bench.device) if same else None


def _change(before: ProZS, after: ProZS, bench: Workbench) -> float:
    """Share of the pool's cells whose class is another in ``after``."""
    return changed_fraction(before, after, bench.pool.regions, bench.pool.tiles)


def make_drafts(model: ProZS, bench: Workbench, positions: Sequence[int], name: str) -> list[NewDraft]:
    """The model's proposals for some tiles of the pool."""
    tiles = [bench.pool.tiles[i] for i in positions]
    part = Part(bench.pool.grids, positions)
    out = []
    for position, (tile, p) in zip(positions, tile_probabilities(model, part, tiles), strict=True):
        mask = draft_mask(tile, p)
        out.append(NewDraft(position, mask, draft_geometry(mask, tile, bench.taxonomy), name))
    return out
