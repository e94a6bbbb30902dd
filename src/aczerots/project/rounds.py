"""The loop of a project: propose a round, fit its model. Read :func:`propose_round` and :func:`fit_round`."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.records.facts import AnswerKind, NewDraft, PickFact, RoundFact, RoundState
from aczerots.backbones.base import Grids
from aczerots.errors import SettingsError
from aczerots.predict import changed_share, tile_probabilities, view_pool
from aczerots.project.bench import Running, open_bench
from aczerots.project.drafts import draft_geometry, draft_mask
from aczerots.project.folder import Project
from aczerots.project.patients import round_limits
from aczerots.prozs.checkpoint import ModelCard, load_model, save_model
from aczerots.prozs.fit import GridSource
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import find_preset
from aczerots.selection.base import choose
from aczerots.selection.locate import locate_strategy
from aczerots.taxonomy import IGNORE, Taxonomy
from aczerots.workbench import Workbench

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
    picks: Sequence[PickFact]
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
    """

    number: int
    tiles: int
    left: int
    change: float | None
    file: str


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
        _fit(project, bench, newest, running)
    started = time.perf_counter()
    number = newest.number + 1
    model = _model(project, bench, newest.number)
    running.progress.say(f"round {number}: {chosen.name} looks at {len(bench.pool.tiles)} tiles")
    pool = view_pool(model, bench.pool.regions, bench.pool.tiles, done, bench.taxonomy, scratch=project.cache)
    rng = np.random.default_rng([project.settings.seed, number])
    selection = choose(chosen, replace(pool, limits=limits), budget or project.settings.budget, rng)
    readings = _readings(len(selection.tiles), project.settings.double, rng)
    picks = [
        PickFact(
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


def fit_round(project: Project, running: Running) -> Fitted:
    """Fit the newest round to all answers there are; again with newer answers if it is fitted already.

    Raises:
        SettingsError: Nothing has been answered in the open round.
        AczerotsError: A slide, the backbone or the disk fails; the round stays as it is then.
    """
    newest = project.store.rounds.newest()
    if newest is None:
        raise SettingsError("there is no round yet", fix="Run: aczerots select")
    if newest.number > 0 and newest.state is RoundState.PROPOSED:
        raise SettingsError(f"nobody has answered in round {newest.number} yet", fix="Annotate, or: aczerots export")
    return _fit(project, open_bench(project, running), newest, running)


def _fit(project: Project, bench: Workbench, round_: RoundFact, running: Running) -> Fitted:
    started = time.perf_counter()
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
    metrics = {"drawn_tiles": _drawn(masks), "change": change}
    seconds = {"fit": time.perf_counter() - started}
    state = max(RoundState.FITTED, round_.state, key=list(RoundState).index)
    project.store.rounds.advance(number, state, model=place, metrics=metrics, seconds=seconds)
    left = next(r.left for r in project.store.progress().rounds if r.number == number)
    what = f"fitted to {_drawn(masks)} tiles" if _drawn(masks) else "nothing drawn yet: the zero-shot model"
    running.progress.say(f"round {number}: {what}")
    return Fitted(number, _drawn(masks), left, change, place)


def drawn_masks(project: Project, up_to: int, taxonomy: Taxonomy) -> dict[int, NDArray[np.uint8]]:
    """Label ids uint8 [size, size] by position of what is drawn of seen classes; unseen ones are IGNORE."""
    keep = np.zeros(256, dtype=bool)
    keep[list(taxonomy.seen_ids)] = True
    masks = project.store.answers.masks(up_to)
    return {tile: np.where(keep[mask], mask, np.uint8(IGNORE)) for tile, mask in masks.items()}


def _drawn(masks: dict[int, NDArray[np.uint8]]) -> int:
    """Tiles with at least one drawn pixel."""
    return sum(bool((m != IGNORE).any()) for m in masks.values())


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
        return bench.zero_shot(find_preset("zeroshot"), seed)
    return bench.fitted(find_preset(project.settings.preset), masks, seed)


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
    return changed_share(before, after, bench.pool.regions, bench.pool.tiles)


def make_drafts(model: ProZS, bench: Workbench, positions: Sequence[int], name: str) -> list[NewDraft]:
    """The model's proposals for some tiles of the pool."""
    tiles = [bench.pool.tiles[i] for i in positions]
    part = _Part(bench.pool.grids, positions)
    out = []
    for position, (tile, p) in zip(positions, tile_probabilities(model, part, tiles), strict=True):
        mask = draft_mask(tile, p)
        out.append(NewDraft(position, mask, draft_geometry(mask, tile, bench.taxonomy), name))
    return out


class _Part:
    """Some grids of a store, by their places in ``positions``."""

    def __init__(self, grids: GridSource, positions: Sequence[int]) -> None:
        self._grids, self._positions = grids, positions

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self._positions)

    def __getitem__(self, index: Sequence[int]) -> Grids:
        """Grids at these places."""
        return self._grids[[self._positions[i] for i in index]]
