"""The slides of a project: found by patterns, named, opened again later."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Sequence
from pathlib import Path

from aczerots.annotation.store.records import SlideRecord
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import InputError
from aczerots.slides.base import Slide, Tile
from aczerots.slides.image import ImageSlide
from aczerots.slides.labelled import TissueRule
from aczerots.slides.open import open_slide
from aczerots.slides.pixels import PixelCache
from aczerots.slides.tiling import cut_tiles
from aczerots.storage.files import make_folder
from aczerots.storage.remote import copy_slide, is_url, matching, name_of

_LONGEST = 150
_FEW = 4


def find_files(patterns: Sequence[str], copies: Path | None = None, progress: Progress | None = None) -> list[Path]:
    """Files that the patterns name, each once, in order of name; ``**`` goes into folders.

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
        whole = str(Path(pattern).expanduser())
        # Path.glob takes no absolute patterns.
        files = [Path(p) for p in glob.glob(whole, recursive=True) if Path(p).is_file()]  # noqa: PTH207
        if not files:
            raise InputError("no file has such a name", where=pattern, fix='Put the pattern in quotes: "images/*.png"')
        found |= {f.resolve() for f in files}
    return sorted(found, key=lambda p: (p.stem, p))


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


def reopen(record: SlideRecord, folder: Path, cache: PixelCache | None = None) -> Slide:
    """The slide that was imported.

    Raises:
        InputError: Missing, or its pixels are not those that were imported.
    """
    path = folder.resolve() / record.path
    slide = open_slide(path, record.mpp, id=record.id, cache=cache)
    if slide.fingerprint != record.fingerprint:
        fix = "Put the old file back, or import the new one under another name"
        raise InputError("the image is not the one that was imported", where=path, fix=fix)
    return slide
