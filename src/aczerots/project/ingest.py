"""Drawings from QuPath become answers: assigned to tiles, rasterised, kept. Read :func:`ingest_files` first."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.geojson import Drawings, Unused, read_geojson
from aczerots.annotation.formats.masks import decode_mask, only_inside, only_seen
from aczerots.annotation.formats.raster import rasterise
from aczerots.annotation.store.records import Answer, AnswerKind, Draft, NewAnswer
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import InputError, extra_needed
from aczerots.project.folder import Project
from aczerots.slides.base import Box, Tile
from aczerots.taxonomy import IGNORE


@dataclass(frozen=True)
class Intake:
    """How drawings are taken.

    Attributes:
        author: Who drew.
        tool: Where.
        everywhere: Take drawings on any tile, not only on those that a round asked for.
        accept: Take tiles whose drafts came back unchanged as accepted; otherwise as not looked at.
        yields: Keep drawings aside where somebody else has answered.
        patch: Only tiles with their middle in this part of the slide; None is all of it.
    """

    author: str
    tool: str = "qupath"
    everywhere: bool = False
    accept: bool = False
    yields: bool = False
    patch: Box | None = None


@dataclass
class Ingested:
    """What became of a file.

    Attributes:
        file: The file.
        slide: The slide it was for.
        drawings: Classified outlines in it.
        answers: Tiles with a new answer.
        unchanged: Tiles whose drawing is known already.
        untouched: Tiles that still show the model's draft as it was.
        stale: Tiles that somebody answered for meanwhile; their drawings are kept aside.
        unused: Features that were not used, with the reason.
    """

    file: Path
    slide: str
    drawings: int
    answers: int = 0
    unchanged: int = 0
    untouched: int = 0
    stale: int = 0
    unused: list[Unused] = field(default_factory=list)

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many features were not used, by reason."""
        return dict(Counter(u.reason for u in self.unused).most_common())


def ingest_files(
    project: Project,
    files: Sequence[Path],
    intake: Intake,
    *,
    slide: str | None = None,
    progress: Progress | None = None,
) -> list[Ingested]:
    """Take the drawings of GeoJSON files. All files are read and checked before the first answer is kept.

    A tile gets an answer if something is drawn in it. The same file again changes nothing.

    Args:
        project: The project.
        files: Named as their slides.
        intake: How to take them.
        slide: Slide of the only file, if it is named otherwise.
        progress: Receives progress.

    Returns:
        What became of each file.

    Raises:
        InputError: A file is refused, with the number of the feature, or belongs to no slide; nothing is changed.
    """
    progress = progress or Silent()
    if slide is not None and len(files) != 1:
        raise InputError("one slide for several files", where="--slide", fix="Name the files as their slides")
    slides = [project.slide_of(path, slide) for path in files]
    contents = []
    for i, path in enumerate(files):
        contents.append(read_geojson(path, project.taxonomy))
        progress.step("read", i + 1, len(files))
    reports = []
    for path, name, read in zip(files, slides, contents, strict=True):
        content = _in_level0(project, path, name, read, progress)
        report = Ingested(path, name, len(content.drawings), unused=list(content.unused))
        take_drawings(project, content, intake, report, progress)
        reports.append(report)
    return reports


def _in_level0(project: Project, path: Path, slide: str, content: Drawings, progress: Progress) -> Drawings:
    """The drawings of a file moved from the frame of other programs to level-0 pixels of the whole slide."""
    offset = project.frame(slide).offset if content.drawings else (0, 0)
    own = {t.id: (t.box.x, t.box.y) for t in project.store.rounds.tiles() if t.id in content.corners}
    if offset != (0, 0) and any(content.corners[tile] == corner for tile, corner in own.items()):
        progress.say(f"{path.name}: its tiles are in the frame of the whole slide, as older versions wrote them")
        return content
    return content.moved(offset)


def take_drawings(
    project: Project, content: Drawings, intake: Intake, report: Ingested, progress: Progress | None = None
) -> None:
    """Assign the drawings of a slide to tiles and keep what is new, all in one transaction.

    Args:
        project: The project.
        content: The drawings, in level-0 pixels of the whole slide.
        intake: How to take them.
        report: Names the slide; gets what became of the drawings.
        progress: Receives progress.

    Raises:
        MissingExtraError: The extra ``project`` is not installed.
    """
    store = project.store
    picks = {p.tile: p for p in store.rounds.picks()}
    tiles = {
        position: tile
        for position, tile in enumerate(store.rounds.tiles())
        if tile.slide == report.slide and (intake.everywhere or position in picks) and _lies_in(tile, intake.patch)
    }
    masks, drawn = _draw(content, tiles, progress or Silent())
    histories, drafts = store.answers.histories(masks), store.rounds.drafts(masks)
    newest = store.rounds.newest()
    new = []
    for position, mask in masks.items():
        pick = picks.get(position)
        known = _Known(
            tuple(histories.get(position, ())),
            drafts.get(position),
            content.versions.get(tiles[position].id),
            twice=pick is not None and pick.readings > 1,
            round=pick.round if pick is not None else 0 if newest is None else newest.number,
        )
        answer = _answer(project, position, mask, known, intake, report)
        if answer is not None:
            new.append(answer)
    kept = store.answers.add_each(new)
    report.answers += sum(k is not None for k in kept)
    report.stale += sum(k is None for k in kept)
    where = "lies outside the slide" if intake.everywhere else "lies in no tile that was asked for"
    report.unused += [Unused(d.number, where) for i, d in enumerate(content.drawings) if i not in drawn]
    report.unused.sort(key=lambda u: u.number)


def _lies_in(tile: Tile, patch: Box | None) -> bool:
    """Whether the middle of a tile lies in a part of its slide."""
    if patch is None:
        return True
    x, y = tile.box.x + tile.box.width / 2, tile.box.y + tile.box.height / 2
    return patch.x <= x < patch.x + patch.width and patch.y <= y < patch.y + patch.height


def _draw(
    content: Drawings, tiles: Mapping[int, Tile], progress: Progress
) -> tuple[dict[int, NDArray[np.uint8]], set[int]]:
    """Masks uint8 [size, size] by position of the tiles with a drawn pixel, and the drawings that touch a tile.

    A later drawing covers an earlier one.
    """
    with extra_needed("project", "reading drawings"):
        import shapely
    tree = shapely.STRtree([d.geometry for d in content.drawings])
    masks, touching = {}, set()
    for done, (position, tile) in enumerate(tiles.items()):
        b = tile.box
        frame = shapely.box(b.x, b.y, b.x + b.width, b.y + b.height)
        inside = sorted(tree.query(frame, predicate="intersects").tolist())
        touching.update(inside)
        if inside:
            regions = [(content.drawings[i].label, content.drawings[i].geometry) for i in inside]
            mask = only_inside(rasterise(regions, tile.window, (tile.size, tile.size)), tile)
            if (mask != IGNORE).any():
                masks[position] = mask
        progress.step("draw", done + 1, len(tiles))
    return masks, touching


@dataclass(frozen=True)
class _Known:
    """What is known of a tile before its drawing is taken.

    Attributes:
        history: Its answers, oldest first.
        draft: The model's newest draft.
        version: Version of the answer that the drawing began from, None if the file does not tell.
        twice: Whether two people draw it.
        round: The round that the answer is for.
    """

    history: tuple[Answer, ...]
    draft: Draft | None
    version: int | None
    twice: bool
    round: int


def _answer(  # the tile, its drawing, what is known, and how to take it
    project: Project, position: int, mask: NDArray[np.uint8], known: _Known, intake: Intake, report: Ingested
) -> NewAnswer | None:
    """The drawing of a tile as an answer, None if it says nothing new."""
    reading = _reading(known, intake.author)
    key = _key(position, reading, mask, intake.tool)
    newest = next((a for a in reversed(known.history) if a.reading == reading), None)
    before = None if newest is None or newest.mask is None else decode_mask(newest.mask)
    # An export leaves out unseen classes: that they are missing is no change.
    same = before is not None and any(np.array_equal(m, mask) for m in (before, only_seen(before, project.taxonomy)))
    if same or any(a.key == key for a in known.history):
        report.unchanged += 1
        return None
    is_open = newest is None or newest.kind in {AnswerKind.SKIPPED, AnswerKind.WITHDRAWN}
    draft = known.draft if is_open else None
    kind = AnswerKind.DRAWN
    if draft is not None and np.array_equal(only_seen(decode_mask(draft.mask), project.taxonomy), mask):
        if not intake.accept:
            report.untouched += 1
            return None
        kind = AnswerKind.ACCEPTED
    version = known.version
    if intake.yields and newest is not None and newest.author != intake.author:
        version = 0
    based_on = 0 if newest is None else newest.version
    if version is not None and not reading:
        based_on = min(version, based_on)
    return NewAnswer(
        position,
        known.round,
        intake.author,
        intake.tool,
        kind,
        based_on,
        mask,
        draft=None if draft is None or intake.everywhere else draft.id,
        reading=reading,
        key=key,
    )


def _reading(known: _Known, author: str) -> int:
    """1 if the tile is drawn by two people and somebody else has drawn it first."""
    first = next((a.author for a in known.history if a.reading == 0 and a.kind is not AnswerKind.WITHDRAWN), None)
    return int(known.twice and first is not None and first != author)


def _key(position: int, reading: int, mask: NDArray[np.uint8], tool: str) -> str:
    """Identity of a drawing: handing in the same one again adds nothing."""
    digest = hashlib.sha256(f"{tool} {position} {reading} {mask.shape} ".encode() + mask.tobytes())
    return f"ingest-{digest.hexdigest()[:40]}"
