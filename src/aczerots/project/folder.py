"""A project folder: made by ``init``, opened by every other command."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from aczerots.annotation.store.records import RoundState
from aczerots.annotation.store.store import ProjectStore
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import AczerotsError, InputError, SettingsError
from aczerots.names import match_names
from aczerots.project.patients import read_slide_mpp
from aczerots.project.settings import FILE, ProjectSettings, read_settings, write_settings
from aczerots.project.slides import OpenedFile, ProjectSlides, SlideReader, find_files, slide_file, slide_name
from aczerots.slides.base import Box
from aczerots.slides.files import NoResolutionError
from aczerots.slides.frame import Frame, frame_of
from aczerots.slides.labelled import EVERYWHERE, TissueRule, background_class
from aczerots.slides.open import SLIDE_SUFFIXES, read_slide
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
        records = self.store.rounds.slides()
        ids = sorted(record.id for record in records)
        # QuPath names files after the image with its ending: a.svs.geojson.
        known = {Path(record.path).name: record.id for record in records} | {name: name for name in ids}
        name = given if given is not None else slide_name(_unpacked_name(path))
        alike = match_names([name], known)
        if not alike:
            fix = f"Name the file as its slide ({', '.join(ids[:5])}, ...); ingest takes --slide too"
            raise InputError(f"there is no slide {name!r}", where=path, fix=fix)
        return known[alike[name]]

    def frame(self, slide: str) -> Frame:
        """The frame that other programs have for a slide. Only this slide is opened, not all of them.

        Raises:
            InputError: There is no such slide, or its file is missing.
        """
        record = next((r for r in self.store.rounds.slides() if r.id == slide), None)
        if record is None:
            raise InputError(f"there is no slide {slide!r}")
        path = slide_file(record, self.folder)
        if not path.exists() and path.suffix.lower() not in SLIDE_SUFFIXES:
            return Frame(Box(0, 0, record.width, record.height), True)
        return frame_of(read_slide(path, record.mpp, id=record.id))

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
    def slides(self) -> ProjectSlides:
        """All slides by id; each is opened, and checked, when it is first asked for."""
        return ProjectSlides(self.store.rounds.slides(), self.folder)


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


def _unpacked_name(path: Path) -> Path:
    """The name that a file has without compression: ``a.geojson`` for ``a.geojson.gz`` and for ``a.zip``."""
    if path.suffix.lower() not in {".gz", ".zip"}:
        return path
    inner = path.with_suffix("")
    return inner if inner.suffix.lower() in {".geojson", ".json"} else inner.with_name(f"{inner.name}.geojson")


def resolution_note(folder: Path, slides: Sequence[str], mpp: float) -> str | None:
    """What to tell somebody who predicts with a project's model at another resolution than the project's.

    Args:
        folder: Of the project.
        slides: Files or URLs to predict.
        mpp: Micrometres per level-0 pixel that all of them are said to have.
    """
    with open_project(folder) as project:
        known = {r.id: r.mpp for r in project.store.rounds.slides()}
        common = project.settings.slide_mpp
    names = [slide_name(Path(s.rpartition("/")[2])) for s in slides]
    other = [
        f"{n} ({v:g})" for n in names if (v := known.get(n)) is not None and not math.isclose(v, mpp, rel_tol=1e-3)
    ]
    if other:
        return f"--mpp {mpp:g} is used here; the project reads these slides at another resolution: {', '.join(other)}"
    if common is None or math.isclose(common, mpp, rel_tol=1e-3):
        return None
    return f"--mpp {mpp:g} is used here; the slides of the project are read at {common:g} (slide_mpp)"


def is_project(path: Path | str) -> bool:
    """Whether a path is a project folder."""
    return (Path(path) / FILE).is_file()


@dataclass(frozen=True)
class AddedSlides:
    """What became of files of slides.

    Attributes:
        new: Ids of slides that were added.
        moved: Ids of slides that the project had, and whose file is another one now.
        left_out: Why the other files cannot be used; each says which.
    """

    new: Sequence[str]
    moved: Sequence[str]
    left_out: Sequence[InputError]


def init_project(
    folder: Path, patterns: Sequence[str], settings: ProjectSettings, progress: Progress | None = None
) -> AddedSlides:
    """Make a project with its slides. If it fails, nothing is left but copies of slides from URLs.

    Args:
        folder: New or empty folder.
        patterns: Files of slides; those behind URLs are copied to :data:`COPIES` in it.
        settings: What the project is about.
        progress: Receives progress.

    Raises:
        SettingsError: The folder holds a project already, the database URL makes no sense, or slides have no
            resolution where one is needed.
        InputError: No slide can be used.
        StorageError: Folder or database cannot be written, or the database holds a project already.
    """
    if is_project(folder):
        raise SettingsError("is a project already", where=folder, fix="Add slides with: aczerots import")
    _refuse_password(settings.database)
    files = find_files(patterns, folder / COPIES, progress)
    new, there = settings.database is None and not (folder / DATABASE).exists(), folder.exists()
    make_folder(folder)
    try:
        added = _fill(folder, settings, files, progress)
    except AczerotsError:
        for path in folder.glob(f"{DATABASE}*") if new else ():
            path.unlink()
        if not there:
            with suppress(OSError):  # copies of slides stay
                folder.rmdir()
        raise
    _tell_of_glass(settings, progress or Silent())
    return added


def _tell_of_glass(settings: ProjectSettings, progress: Progress) -> None:
    """Say what becomes of empty glass if no class is for it."""
    if background_class(settings.taxonomy) is None:
        glass = "gets one of the classes" if settings.tissue == EVERYWHERE else "is left out where no tissue is found"
        progress.say(f"no class is the background: empty glass {glass} (the setting 'tissue' decides, docs/slides.md)")


def _fill(folder: Path, settings: ProjectSettings, files: Sequence[Path], progress: Progress | None) -> AddedSlides:
    """Slides, settings and round 0, in this order: an interrupted ``init`` may be run again."""
    with closing(ProjectStore(settings.database or folder / DATABASE)) as store:
        other = any(t.size != settings.tile_size for t in store.rounds.tiles())
        if other or store.rounds.newest() is not None:
            raise SettingsError("holds a project already", where=store.name, fix="Use a new folder or database")
        added = add_slides(Project(folder, settings, store), files, progress)
        if not store.rounds.slides():
            raise added.left_out[0]
        write_settings(folder, settings)
        store.rounds.propose(0, "zeroshot", [])
        return added


def add_slides(project: Project, files: Sequence[Path], progress: Progress | None = None) -> AddedSlides:
    """Add slides with their tiles, and note the new place of slides that are there already.

    A slide is known by its name and its pixels; one whose file is gone also by its pixels alone, so that files may be
    moved and renamed. Files that cannot be read, or have no tissue, are left out. All are opened before the first one
    is added.

    Raises:
        InputError: Two files have the same name, or one has changed since it was added.
        SettingsError: Slides without the resolution that is needed to read them; names them all.
    """
    settings, store, progress = project.settings, project.store.rounds, progress or Silent()
    known = {r.id: r for r in store.slides()}
    linked = {slide_file(r, project.folder).resolve(): r.id for r in known.values()}
    names: dict[str, Path] = {}
    for path in files:
        # Earlier versions named a slide after what a link leads to.
        name = linked.get(path.resolve()) or slide_name(path)
        if name in names:
            raise InputError(f"has the same name as {names[name]}", where=path, fix="Rename one of them")
        names[name] = path
    table = {} if settings.patients is None else read_slide_mpp(project.folder / settings.patients)
    nowhere = sorted(table.keys() - names.keys() - known.keys())
    if nowhere:
        progress.say(f"no slide has the name of a row with mpp in {settings.patients}: {', '.join(nowhere)}")
    mpp = dict.fromkeys(names, settings.slide_mpp) | table
    reader = SlideReader(project.folder, settings.tile_size, settings.mpp, mpp, known, project.tissue)
    found = reader.open_all(names, progress)
    bare = [e for e in found if isinstance(e, NoResolutionError)]
    if bare:
        raise _without_resolution([slide_name(Path(str(e.where))) for e in bare])
    opened, repeated = _each_once([f for f in found if isinstance(f, OpenedFile)])
    is_new = store.add_slides([(f.record, f.tiles) for f in opened])
    old = [f.record for f, new in zip(opened, is_new, strict=True) if not new]
    moved = [r.id for r in old if slide_file(r, project.folder) != slide_file(known[r.id], project.folder)]
    left_out = [*(e for e in found if isinstance(e, InputError)), *repeated]
    for error in left_out:
        progress.say(f"left out: {error}")
    return AddedSlides([f.record.id for f, new in zip(opened, is_new, strict=True) if new], moved, left_out)


def _each_once(opened: Sequence[OpenedFile]) -> tuple[list[OpenedFile], list[InputError]]:
    """Files of different slides, and why the others are left out: a slide may be several files, any of which opens it.

    The file by which the project knows a slide comes before others.
    """
    first: dict[object, OpenedFile] = {}
    kept, repeated = [], []
    for one in sorted(opened, key=lambda f: bool(f.tiles)):
        for key in (one.parts, one.record.id):
            if key in first:
                repeated.append(InputError(f"is of the same slide as {first[key].path.name}", where=one.path))
                break
        else:
            first[one.parts] = first[one.record.id] = one
            kept.append(one)
    taken = {f.path for f in kept}
    return [f for f in opened if f.path in taken], repeated


def _without_resolution(slides: Sequence[str]) -> SettingsError:
    """Says which slides have none."""
    many = f"{len(slides)} slides state" if len(slides) > 1 else "a slide states"
    what = f"{many} no resolution: {', '.join(slides)}"
    fix = "Give --slide-mpp where it is the same for all, or a column mpp in the CSV file of --patients"
    return SettingsError(what, fix=f"{fix} (micrometres per pixel of the full resolution)")


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
