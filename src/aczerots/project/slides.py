"""The slides of a project: found by patterns, named, opened again later."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import final

from aczerots.annotation.store.records import SlideRecord
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import InputError
from aczerots.slides.base import Box, Slide, Tile
from aczerots.slides.dicom import series_files
from aczerots.slides.files import NoResolutionError, ends_oddly
from aczerots.slides.image import ImageSlide
from aczerots.slides.labelled import TissueRule
from aczerots.slides.open import briefly, open_slide, read_slide
from aczerots.slides.pixels import PixelCache
from aczerots.slides.tiling import cut_tiles
from aczerots.storage.files import make_folder
from aczerots.storage.remote import copy_slide, is_url, matching, name_of

_LONGEST = 150
_FEW = 4
_SIDE_BY_SIDE = 8
"""Files that are opened at the same time: disks of a network answer late."""

_OF_SEVERAL_FILES = {".mrxs", ".vms", ".vmu", ".dcm"}
"""Endings of files whose slide lies in files beside them."""


def find_files(patterns: Sequence[str], copies: Path | None = None, progress: Progress | None = None) -> list[Path]:
    """Files that the patterns name, each once, in order of name; ``**`` goes into folders.

    A file or folder that is named exactly so comes before a pattern: ``case [1].png`` may be a file. A file has the
    name it is found by, also where that is a link; one that is found under several names counts once.

    Args:
        patterns: Of paths, or of URLs such as ``s3://lab/slides/*.svs``.
        copies: Folder that files behind URLs are copied to, once: pages and readers need them on a disk. Without it
            URLs are refused.
        progress: Receives progress.

    Raises:
        InputError: A pattern that names no file, or two URLs whose files have the same name.
        StorageError: There is no room for a copy.
        MissingExtraError: The library for a URL's protocol is not installed.
    """
    found: set[Path] = set()
    for pattern in patterns:
        if is_url(pattern):
            found |= _copied(pattern, copies, progress or Silent())
            continue
        files = _named(Path(pattern).expanduser())
        if not files:
            raise InputError("no file has such a name", where=pattern, fix='Put the pattern in quotes: "images/*.png"')
        found |= {_place(f) for f in files}
    once: dict[Path, Path] = {}
    for path in sorted(found, key=lambda p: (p.is_symlink(), p.stem, p)):
        once.setdefault(path.resolve(), path)
    return sorted(once.values(), key=lambda p: (p.stem, p))


def _named(pattern: Path) -> list[Path]:
    """Files of a pattern; brackets are part of names where so a file or folder is found."""
    literal = Path(pattern.anchor)
    parts = list(pattern.relative_to(literal).parts)
    while parts and (literal / parts[0]).exists():
        literal /= parts.pop(0)
    if not parts:
        return [literal] if literal.is_file() else []
    start, rest = glob.escape(str(literal)), str(Path(*parts))
    for whole in (str(Path(start, rest.replace("[", "[[]"))), str(Path(start, rest)), str(pattern)):
        # Path.glob takes no absolute patterns.
        files = [Path(p) for p in glob.glob(whole, recursive=True) if Path(p).is_file()]  # noqa: PTH207
        if files:
            return files
    return []


def _place(path: Path) -> Path:
    """Where a file lies, under the name it is found by; of slides of several files, where these lie."""
    return path.resolve() if path.suffix.lower() in _OF_SEVERAL_FILES else path.parent.resolve() / path.name


def _copied(pattern: str, copies: Path | None, progress: Progress) -> set[Path]:
    """Copy the files that a URL names, unless they are there already; gives the copies."""
    if copies is None:
        raise InputError("only slides may be behind URLs", where=pattern, fix="Copy the files to a folder")
    found = matching(pattern)
    places = {name_of(place): place for place in found}
    if not found:
        raise InputError("no file has such a name", where=pattern)
    if len(places) < len(found):
        twice = next(place for place in found if places[name_of(place)] != place)
        raise InputError(f"has the same name as {places[name_of(twice)]}", where=twice, fix="Rename one of them")
    make_folder(copies)
    for done, (name, place) in enumerate(places.items()):
        if not (copies / name).exists():
            with tempfile.TemporaryDirectory(prefix=".copy-", dir=copies) as part:
                copy_slide(place, Path(part))
                # The file that names the slide comes last: where it is, all of it is.
                for path in sorted(Path(part).iterdir(), key=lambda p: p.name == name):
                    path.replace(copies / path.name)
        progress.step("copy slides", done + 1, len(places))
    return {(copies / name).resolve() for name in places}


def slide_name(path: Path) -> str:
    """Id of the slide in a file: its name without ending. It becomes part of the names of files that are written.

    Raises:
        InputError: It cannot be part of a file name everywhere.
    """
    name = path.name.removesuffix(".ome.tif").removesuffix(".ome.tiff")
    name = path.stem if name == path.name else name
    if not name.isprintable() or name.startswith(".") or len(name) > _LONGEST or set(name) & set('\\/:*?"<>|@'):
        raise InputError("the name of the file cannot name a slide", where=repr(str(path)), fix="Rename the file")
    return name


def pool_tiles(slide: Slide, tile_size: int, mpp: float | None, tissue: TissueRule) -> list[Tile]:
    """Tiles of a slide that are worth drawing: those in which something gets a class.

    All of a plain image of few tiles are: somebody has cut it out, and it need not be decoded.

    Raises:
        InputError: The slide cannot be read, or has no tissue.
        SettingsError: Tiles are to be read at a resolution, and the slide states none.
    """
    tiles = cut_tiles(slide, tile_size, mpp)
    if isinstance(slide, ImageSlide) and len(tiles) <= _FEW:
        return tiles
    mask = tissue.find(slide)
    kept = [t for t in tiles if mask.any(t.box)]
    if not kept:
        raise InputError("no tissue was found", where=slide.id, fix="Look at the slide, or leave it out")
    return kept


def slide_record(slide: Slide, path: Path, folder: Path) -> SlideRecord:
    """What the project's database keeps of a slide; files inside the project are named relative to it."""
    inside = path.is_relative_to(folder.resolve())
    place = path.relative_to(folder.resolve()).as_posix() if inside else str(path)
    return SlideRecord(slide.id, place, slide.fingerprint, *slide.size, slide.mpp)


@dataclass(frozen=True)
class OpenedFile:
    """What a file of a slide holds.

    Attributes:
        path: The file.
        record: What the database keeps of it.
        tiles: Its tiles; empty if the project has the slide already.
        parts: All files that make up the slide.
    """

    path: Path
    record: SlideRecord
    tiles: Sequence[Tile]
    parts: frozenset[Path]


@dataclass(frozen=True)
class SlideReader:
    """Opens files as slides of a project.

    Attributes:
        folder: Of the project.
        tile_size: Side of a tile in pixels.
        mpp: Micrometres per pixel that tiles are read at, None for level-0 pixels.
        slide_mpp: Micrometres per level-0 pixel by slide; those that are not in it have what the file states.
        known: Slides that the project has, by id.
        tissue: Says what of a slide gets a class.
    """

    folder: Path
    tile_size: int
    mpp: float | None
    slide_mpp: Mapping[str, float | None]
    known: Mapping[str, SlideRecord]
    tissue: TissueRule

    def open_all(self, files: Mapping[str, Path], progress: Progress) -> list[OpenedFile | InputError]:
        """Open files, by the name of the slide, side by side; an error stands for a file that cannot be used."""
        gone = {r.fingerprint: r for r in self.known.values() if not slide_file(r, self.folder).exists()}
        found: list[OpenedFile | InputError] = []
        notes: list[str] = []
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as threads:
            for one in threads.map(partial(self._open, gone, notes), files, files.values()):
                found.append(one)
                progress.step("open slides", len(found), len(files))
        for note in briefly(sorted(notes)):
            progress.say(note)
        return found

    def _open(
        self, gone: Mapping[str, SlideRecord], notes: list[str], name: str, path: Path
    ) -> OpenedFile | InputError:
        try:
            slide = open_slide(path, self.slide_mpp.get(name), id=name, tell=notes.append)
            record = slide_record(slide, path, self.folder)
            if isinstance(slide, ImageSlide) and ends_oddly(path):
                slide.read(Box(0, 0, 1, 1), (1, 1))  # decodes all of it
            if name not in self.known and record.fingerprint in gone:
                record = replace(record, id=gone[record.fingerprint].id)
            if record.id in self.known:
                return OpenedFile(path, record, (), frozenset(series_files(path)))
            if self.mpp is not None and slide.mpp is None:
                raise NoResolutionError("the slide states no resolution", where=path)
            tiles = pool_tiles(slide, self.tile_size, self.mpp, self.tissue)
            return OpenedFile(path, record, tiles, frozenset(series_files(path)))
        except InputError as error:
            # Errors of a slide's content name the slide; somebody who has to look at it needs the file.
            known = str(path) in str(error)
            return error if known else InputError(error.what, where=path, fix=error.fix)


def slide_file(record: SlideRecord, folder: Path) -> Path:
    """Where the file of a slide should be."""
    return folder.resolve() / record.path


def reopen(record: SlideRecord, folder: Path, cache: PixelCache | None = None) -> Slide:
    """The slide that was imported.

    Raises:
        InputError: Missing, or its pixels are not those that were imported.
    """
    path = slide_file(record, folder)
    check_there([record], folder)
    slide = read_slide(path, record.mpp, id=record.id, cache=cache)
    if slide.fingerprint != record.fingerprint:
        fix = "Put the old file back, or import the new one under another name"
        raise InputError("the image is not the one that was imported", where=path, fix=fix)
    return slide


def check_there(records: Sequence[SlideRecord], folder: Path) -> None:
    """Refuse slides whose files are gone.

    Raises:
        InputError: Files are missing; says how many, and how to say where they are now.
    """
    gone = [path for path in (slide_file(r, folder) for r in records) if not path.exists()]
    if gone:
        more = f" (and {len(gone) - 1} more of {len(records)} slides)" if len(gone) > 1 else ""
        fix = f'Put it back, or say where it is now: aczerots import {folder} --slides "NEW_FOLDER/*{gone[0].suffix}"'
        raise InputError(f"the slide is missing{more}", where=gone[0], fix=fix)


@final
class ProjectSlides(Mapping[str, Slide]):
    """The slides of a project by id; each is opened and checked when it is first asked for.

    Args:
        records: The slides.
        folder: Of the project.
    """

    def __init__(self, records: Sequence[SlideRecord], folder: Path) -> None:
        self._records = {r.id: r for r in records}
        self._folder, self._cache = folder, PixelCache()
        self._open: dict[str, Slide] = {}

    def __getitem__(self, name: str) -> Slide:
        """A slide.

        Raises:
            KeyError: No such slide.
            InputError: Missing, or its pixels are not those that were imported.
        """
        if name not in self._open:
            self._open[name] = reopen(self._records[name], self._folder, self._cache)
        return self._open[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, name: object) -> bool:
        return name in self._records

    def open_all(self) -> None:
        """Open all of them, side by side.

        Raises:
            InputError: One is missing or has changed.
        """
        check_there(list(self._records.values()), self._folder)
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as threads:
            for _ in threads.map(self.__getitem__, self._records):
                pass
