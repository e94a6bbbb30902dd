"""Drawings from QuPath become answers: assigned to tiles, rasterised, kept. Read :func:`ingest_files` first."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aczerots.annotation.formats.geojson import Drawing, Drawings, Unused, read_drawings
from aczerots.annotation.formats.masks import decode_mask
from aczerots.annotation.formats.raster import rasterise
from aczerots.annotation.store.records import Answer, AnswerKind, Draft, NewAnswer, PickRecord
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import InputError, MissingExtraError
from aczerots.project.folder import Project
from aczerots.project.slides import slide_name
from aczerots.slides.base import Box, Tile
from aczerots.taxonomy import IGNORE

if TYPE_CHECKING:
    from shapely import STRtree


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
        unused: Features without a use, with the reason.
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
        """How many features had no use, by reason."""
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
    names = [_slide_of(project, path, slide) for path in files]
    found = []
    for i, path in enumerate(files):
        found.append(read_drawings(path, project.taxonomy))
        progress.step("read", i + 1, len(files))
    reports = []
    for path, name, content in zip(files, names, found, strict=True):
        report = Ingested(path, name, len(content.drawings), unused=list(content.unused))
        take_drawings(project, content, intake, report, progress)
        reports.append(report)
    return reports


def _slide_of(project: Project, path: Path, given: str | None) -> str:
    """Id of the slide that a file is for."""
    known = {f.id for f in project.store.rounds.slides()}
    name = given if given is not None else slide_name(path)
    if name not in known:
        some = ", ".join(sorted(known)[:5])
        fix = f"Name the file as its slide ({some}, ...), or give --slide"
        raise InputError(f"there is no slide {name!r}", where=path, fix=fix)
    return name


def take_drawings(
    project: Project, content: Drawings, intake: Intake, report: Ingested, progress: Progress | None = None
) -> None:
    """Assign the drawings of a slide to tiles and keep what is new, all in one transaction.

    Args:
        project: The project.
        content: The drawings.
        intake: How to take them.
        report: Names the slide; gets what became of the drawings.
        progress: Receives progress.

    Raises:
        MissingExtraError: The extra ``project`` is not installed.
    """
    progress = progress or Silent()
    picks = {p.tile: p for p in project.store.rounds.picks()}
    tiles = [
        (i, t)
        for i, t in enumerate(project.store.rounds.tiles())
        if t.slide == report.slide and (intake.everywhere or i in picks) and _within(t, intake.patch)
    ]
    newest = project.store.rounds.newest()
    number = 0 if newest is None else newest.number
    tree = _tree(content.drawings)
    met: set[int] = set()
    drawn: list[tuple[PickRecord, Tile, NDArray[np.uint8]]] = []
    for done, (position, tile) in enumerate(tiles):
        inside = _inside(tree, tile)
        met.update(inside)
        mask = draw_tile([content.drawings[i] for i in inside], tile) if inside else None
        if mask is not None and (mask != IGNORE).any():
            drawn.append((picks.get(position, PickRecord(number, 0, position, 0.0, {})), tile, mask))
        progress.step("draw", done + 1, len(tiles))
    _keep(project, drawn, content.versions, intake, report)
    where = "lies outside the slide" if intake.everywhere else "lies in no tile that was asked for"
    report.unused += [Unused(d.number, where) for i, d in enumerate(content.drawings) if i not in met]
    report.unused.sort(key=lambda u: u.number)


def _within(tile: Tile, patch: Box | None) -> bool:
    """Whether the middle of a tile lies in a part of its slide."""
    if patch is None:
        return True
    x, y = tile.box.x + tile.box.width / 2, tile.box.y + tile.box.height / 2
    return patch.x <= x < patch.x + patch.width and patch.y <= y < patch.y + patch.height


def _tree(drawings: Sequence[Drawing]) -> STRtree:
    try:
        from shapely import STRtree
    except ModuleNotFoundError as error:
        raise MissingExtraError("project", "reading drawings") from error
    return STRtree([d.geometry for d in drawings])


def _inside(tree: STRtree, tile: Tile) -> list[int]:
    """Places of the drawings that touch the inside of a tile's box, in the order of the file."""
    from shapely.geometry import box

    b = tile.box
    frame = box(b.x, b.y, b.x + b.width, b.y + b.height)
    return sorted(int(i) for i in tree.query(frame, predicate="intersects"))


def draw_tile(drawings: Sequence[Drawing], tile: Tile) -> NDArray[np.uint8]:
    """Label ids uint8 [size, size] that drawings make of a tile; a later one covers an earlier one."""
    mask = rasterise([(d.label, d.geometry) for d in drawings], tile.window, (tile.size, tile.size))
    out = np.full_like(mask, IGNORE)
    out[tile.inner] = mask[tile.inner]
    return out


def _keep(
    project: Project,
    drawn: Sequence[tuple[PickRecord, Tile, NDArray[np.uint8]]],
    versions: Mapping[str, int],
    intake: Intake,
    report: Ingested,
) -> None:
    """Keep the drawings of tiles that are not known yet."""
    positions = [pick.tile for pick, _, _ in drawn]
    histories, drafts = project.store.answers.histories(positions), project.store.rounds.drafts(positions)
    new = []
    for pick, tile, mask in drawn:
        history, draft = histories.get(pick.tile, []), drafts.get(pick.tile)
        one = _answer(project, pick, mask, history, draft, versions.get(tile.id), intake, report)
        if one is not None:
            new.append(one)
    kept = project.store.answers.add_each(new)
    report.answers += sum(k is not None for k in kept)
    report.stale += sum(k is None for k in kept)


def _answer(  # noqa: PLR0913, PLR0917  # what is known of a tile, each from another place
    project: Project,
    pick: PickRecord,
    mask: NDArray[np.uint8],
    history: Sequence[Answer],
    draft: Draft | None,
    version: int | None,
    intake: Intake,
    report: Ingested,
) -> NewAnswer | None:
    """The drawing of a tile as an answer, None if it says nothing new."""
    reading = _reading(history, pick.readings > 1, intake.author)
    key = _key(pick.tile, reading, mask, intake.tool)
    newest = next((a for a in reversed(history) if a.reading == reading), None)
    known_mask = None if newest is None or newest.mask is None else decode_mask(newest.mask)
    # What is of an unseen class does not leave with an export: its absence is no change.
    same = known_mask is not None and any(np.array_equal(m, mask) for m in (known_mask, _seen(project, known_mask)))
    if same or any(a.key == key for a in history):
        report.unchanged += 1
        return None
    kind = AnswerKind.DRAWN
    opened = newest is None or newest.kind in {AnswerKind.SKIPPED, AnswerKind.WITHDRAWN}
    if draft is not None and opened and np.array_equal(_seen(project, decode_mask(draft.mask)), mask):
        if not intake.accept:
            report.untouched += 1
            return None
        kind = AnswerKind.ACCEPTED
    known = 0 if newest is None else newest.version
    if intake.yields and newest is not None and newest.author != intake.author:
        version = 0
    based_on = known if version is None or reading else min(version, known)
    return NewAnswer(
        pick.tile,
        pick.round,
        intake.author,
        intake.tool,
        kind,
        based_on,
        mask,
        draft=draft.id if draft is not None and opened and not intake.everywhere else None,
        reading=reading,
        key=key,
    )


def _seen(project: Project, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask with unseen classes as IGNORE, as it was exported."""
    return np.where(np.isin(mask, project.taxonomy.seen_ids), mask, np.uint8(IGNORE))


def _reading(history: Sequence[Answer], twice: bool, author: str) -> int:
    """1 if the tile is drawn by two people and somebody else has drawn it first."""
    first = next((a.author for a in history if a.reading == 0 and a.kind is not AnswerKind.WITHDRAWN), None)
    return int(twice and first is not None and first != author)


def _key(position: int, reading: int, mask: NDArray[np.uint8], tool: str) -> str:
    """Identity of a drawing: handing in the same one again adds nothing."""
    digest = hashlib.sha256(f"{tool} {position} {reading} {mask.shape} ".encode() + mask.tobytes())
    return f"ingest-{digest.hexdigest()[:40]}"
