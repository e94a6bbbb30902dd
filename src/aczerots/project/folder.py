"""A project folder: made by ``init``, opened by every other command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from aczerots.annotation.store.records import RoundState
from aczerots.annotation.store.store import ProjectStore
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import AczerotsError, InputError, SettingsError
from aczerots.project.settings import FILE, ProjectSettings, read_settings, write_settings
from aczerots.project.slides import find_files, pool_tiles, reopen, slide_name, slide_record
from aczerots.slides.base import Slide
from aczerots.slides.labelled import EVERYWHERE, TissueRule, background_class
from aczerots.slides.open import open_slide
from aczerots.slides.pixels import PixelCache
from aczerots.storage.files import make_folder
from aczerots.taxonomy import Taxonomy

DATABASE = "project.sqlite"
COPIES = "slides"
"""Folder in a project with copies of slides that came from URLs."""


@dataclass(frozen=True)
class Project:
    """An open project.

    Attributes:
        folder: Its folder.
        settings: Its settings.
        store: Its database.
    """

    folder: Path
    settings: ProjectSettings
    store: ProjectStore

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes, without the bundled descriptions."""
        return self.settings.taxonomy

    @cached_property
    def tissue(self) -> TissueRule:
        """Says what of the slides gets a class.

        Raises:
            SettingsError: The settings name a folder that is not there.
        """
        return TissueRule(self.taxonomy, self.settings.tissue, self.folder)

    @property
    def cache(self) -> Path:
        """Folder of cached dense features; may be removed at any time."""
        return self.folder / "cache"

    @property
    def exports(self) -> Path:
        """Where exports go unless told otherwise."""
        return self.folder / "exports"

    def model_file(self, number: int) -> Path:
        """Model of a round."""
        return self.folder / "models" / f"round-{number}.safetensors"

    def slide_of(self, path: Path, given: str | None = None) -> str:
        """Id of the slide that a file is named after, or of the given one.

        Raises:
            InputError: There is no such slide.
        """
        known = [record.id for record in self.store.rounds.slides()]
        name = given if given is not None else slide_name(path)
        if name not in known:
            fix = f"Name the file as its slide ({', '.join(sorted(known)[:5])}, ...); ingest takes --slide too"
            raise InputError(f"there is no slide {name!r}", where=path, fix=fix)
        return name

    def next_step(self) -> str:
        """The command that goes on from here."""
        rounds = self.store.progress().rounds
        if not rounds or rounds[-1].state in {RoundState.FITTED, RoundState.EVALUATED} or not rounds[-1].asked:
            return f"aczerots select {self.folder}"
        if not rounds[-1].left:
            return f"aczerots fit {self.folder}"
        export, ingest = f"aczerots export {self.folder}", f"aczerots ingest {self.folder} FILES"
        return f"aczerots annotate {self.folder}, or in QuPath: {export}, draw, {ingest}"

    @cached_property
    def slides(self) -> dict[str, Slide]:
        """All slides by id, opened once.

        Raises:
            InputError: One is missing or has changed.
        """
        cache = PixelCache()
        return {r.id: reopen(r, self.folder, cache) for r in self.store.rounds.slides()}


@contextmanager
def open_project(folder: Path) -> Iterator[Project]:
    """The project in a folder, closed at the end of the block.

    Raises:
        InputError: No project there, or its settings are wrong.
        StorageError: The database cannot be opened.
    """
    settings = read_settings(folder)
    with closing(ProjectStore(settings.database or folder / DATABASE)) as store:
        yield Project(folder, settings, store)


def newest_model(path: Path) -> Path:
    """The model file of a project's newest fitted round; any other path is a model file itself.

    Raises:
        InputError: The project has no model yet, or its settings are wrong.
        StorageError: The database cannot be opened.
    """
    if not is_project(path):
        return path
    with open_project(path) as project:
        fitted = [r.model for r in project.store.rounds.all() if r.model is not None]
    if not fitted:
        raise InputError("has no model yet", where=path, fix=f"Run: aczerots select {path}")
    return path / fitted[-1]


def is_project(path: Path | str) -> bool:
    """Whether a path is a project folder."""
    return (Path(path) / FILE).is_file()


def init_project(
    folder: Path, patterns: Sequence[str], settings: ProjectSettings, progress: Progress | None = None
) -> None:
    """Make a project with its slides. If it fails, nothing is left but copies of slides from URLs.

    Args:
        folder: New or empty folder.
        patterns: Files of slides; those behind URLs are copied to :data:`COPIES` in it.
        settings: What the project is about.
        progress: Receives progress.

    Raises:
        SettingsError: The folder holds a project already, or the database URL makes no sense.
        InputError: A slide cannot be read.
        StorageError: Folder or database cannot be written, or the database holds a project already.
    """
    if is_project(folder):
        raise SettingsError("is a project already", where=folder, fix="Add slides with: aczerots import")
    _refuse_password(settings.database)
    files = find_files(patterns, folder / COPIES, progress)
    make_folder(folder)
    new = settings.database is None and not (folder / DATABASE).exists()
    try:
        _fill(folder, settings, files)
        _tell_of_glass(settings, progress or Silent())
    except AczerotsError:
        for path in folder.glob(f"{DATABASE}*") if new else ():
            path.unlink()
        raise


def _tell_of_glass(settings: ProjectSettings, progress: Progress) -> None:
    """Say what becomes of empty glass if no class is for it."""
    if background_class(settings.taxonomy) is None:
        glass = "gets one of the classes" if settings.tissue == EVERYWHERE else "is left out where no tissue is found"
        progress.say(f"no class is the background: empty glass {glass} (the setting 'tissue' decides, docs/slides.md)")


def _fill(folder: Path, settings: ProjectSettings, files: Sequence[Path]) -> None:
    """Slides, settings and round 0, in this order: an interrupted ``init`` may be run again."""
    with closing(ProjectStore(settings.database or folder / DATABASE)) as store:
        other = any(t.size != settings.tile_size for t in store.rounds.tiles())
        if other or store.rounds.newest() is not None:
            raise SettingsError("holds a project already", where=store.name, fix="Use a new folder or database")
        add_slides(Project(folder, settings, store), files)
        write_settings(folder, settings)
        store.rounds.propose(0, "zeroshot", [])


def add_slides(project: Project, files: Sequence[Path]) -> list[str]:
    """Add slides with their tiles; those that are there already are passed over.

    All files are opened before the first one is added.

    Returns:
        Ids of the new ones.

    Raises:
        InputError: A file cannot be read, two have the same name, or one has changed since it was added.
        SettingsError: Tiles are to be read at a resolution, and a slide states none.
    """
    names: dict[str, Path] = {}
    found = []
    for path in files:
        name = slide_name(path)
        if name in names:
            raise InputError(f"has the same name as {names[name]}", where=path, fix="Rename one of them")
        names[name] = path
        slide = open_slide(path, project.settings.slide_mpp, id=name)
        tiles = pool_tiles(slide, project.settings.tile_size, project.settings.mpp, project.tissue)
        found.append((slide_record(slide, path, project.folder), tiles))
    return [record.id for record, tiles in found if project.store.rounds.add_slide(record, tiles)]


def _refuse_password(database: str | None) -> None:
    """No password in the URL of the database: project.yaml is a plain file that people copy."""
    if database is None:
        return
    try:
        password = make_url(database).password
    except ArgumentError:
        return  # the store says what is wrong with it
    if password is not None:
        fix = "Leave it out and put it into ~/.pgpass or PGPASSWORD"
        raise SettingsError("a password does not belong into project.yaml", where="--database", fix=fix)
