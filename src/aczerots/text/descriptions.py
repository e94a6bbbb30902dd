"""Bundled descriptions: sentences on how common classes look, and how a taxonomy gets its descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from aczerots.config import TextMode
from aczerots.errors import InputError, first_complaint
from aczerots.storage.text_file import read_text
from aczerots.taxonomy import Taxonomy, TissueClass

HISTOLOGY_TEMPLATES = (
    "{}.",
    "an H&E image of {}.",
    "an H&E stained section showing {}.",
    "a histopathology image of {}.",
    "a microscopic view of {}.",
    "{} is present.",
)
PHOTO_TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a close-up photo of a {}.",
    "a blurry photo of a {}.",
    "a photo of one {} in a scene.",
    "a photo of many {}.",
)

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Picture = Literal["histology", "photo"]


class DescribedClass(BaseModel):
    """One class of a file.

    Attributes:
        name: The class.
        aliases: Other names of it.
        topic: Where to read about it: book or site, and its chapter.
        descriptions: Sentences on how it looks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    aliases: tuple[Name, ...] = ()
    topic: Name | None = None
    descriptions: tuple[Name, ...] = Field(min_length=1)


class DescriptionFile(BaseModel):
    """A file of descriptions: classes of one organ, or of everyday photos.

    Attributes:
        picture: What kind of picture the sentences are about.
        organ: Where the classes are found.
        sources: Where the knowledge comes from: books, sites, or the language model that wrote it.
        classes: The classes.
        origins: Of classes that a language model wrote: class name to model and hashes of prompt and answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: Picture = "histology"
    organ: Name | None = None
    sources: tuple[Name, ...] = ()
    classes: tuple[DescribedClass, ...] = Field(min_length=1)
    origins: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)


def name_key(name: str) -> str:
    """A name as it is compared: letters and digits in lower case, American spelling of tumor."""
    return "".join(c for c in name.lower() if c.isalnum()).replace("tumour", "tumor")


def parse_descriptions(text: str, where: object, fix: str = "") -> DescriptionFile:
    """The content of a file of descriptions; bad YAML, another form and a class that is there twice are refused."""
    try:
        file = DescriptionFile.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise InputError(f"this is not YAML: {' '.join(str(error).split())}", where=where, fix=fix) from error
    except ValidationError as error:
        key, what = first_complaint(error)
        raise InputError(f"'{key}': {what}", where=where, fix=fix) from error
    names = [name_key(n) for e in file.classes for n in (e.name, *e.aliases)]
    double = next((n for n in names if names.count(n) > 1), None)
    if double is not None:
        raise InputError(f"names the class '{double}' twice", where=where, fix=fix)
    return file


def read_descriptions(path: Path) -> DescriptionFile:
    """A user's file of descriptions, as ``aczerots describe`` writes it."""
    fix = "It needs 'classes', a list of 'name' with 'descriptions', a list of sentences"
    return parse_descriptions(read_text(path), path, fix)


@cache
def _bundle() -> Mapping[str, tuple[DescriptionFile, DescribedClass]]:
    """The bundle by names and aliases as they are compared, read once."""
    entries: dict[str, tuple[DescriptionFile, DescribedClass]] = {}
    folder, fix = files("aczerots.text") / "data", "The bundle is damaged: reinstall aczerots"
    for path in sorted((p for p in folder.iterdir() if p.name.endswith(".yaml")), key=lambda p: p.name):
        file = parse_descriptions(path.read_text(encoding="utf-8"), path.name, fix)
        for entry in file.classes:
            for name in (entry.name, *entry.aliases):
                if name_key(name) in entries:
                    raise InputError(f"the bundled descriptions name '{name}' twice", where=path.name)
                entries[name_key(name)] = (file, entry)
    return MappingProxyType(entries)


def known_classes() -> tuple[str, ...]:
    """Names of all bundled classes, by file and in file order, without aliases."""
    return tuple(dict.fromkeys(entry.name for _, entry in _bundle().values()))


def bundled_descriptions(name: str) -> tuple[str, ...] | None:
    """Sentences that come with the package for a class, None if the class is unknown.

    At least six, five for the VOC classes. Case, spaces, hyphens and underscores of the name or alias do not matter.
    """
    found = _bundle().get(name_key(name))
    return None if found is None else found[1].descriptions


def bundled_source(name: str) -> str | None:
    """Where to read about a bundled class, None if the class is unknown."""
    found = _bundle().get(name_key(name))
    if found is None:
        return None
    file, entry = found
    return entry.topic or "; ".join(file.sources)


def undescribed(taxonomy: Taxonomy) -> tuple[str, ...]:
    """Names of the classes with neither own nor bundled sentences, in label order; the user should be told.

    :func:`describe_taxonomy` gives them the templates of their name, which say nothing about their looks.
    """
    return tuple(c.name for c in taxonomy.classes if not c.descriptions and bundled_descriptions(c.name) is None)


def with_user_descriptions(taxonomy: Taxonomy, path: Path) -> Taxonomy:
    """The classes with the sentences of a user's file, which win; a file that describes none of them is refused."""
    file = read_descriptions(path)
    sentences = {name_key(n): e.descriptions for e in file.classes for n in (e.name, *e.aliases)}
    if not any(name_key(name) in sentences for name in taxonomy.names):
        fix = f"It describes: {', '.join(e.name for e in file.classes)}"
        raise InputError(f"describes none of the classes {', '.join(taxonomy.names)}", where=path, fix=fix)
    return taxonomy.with_descriptions([sentences.get(name_key(c.name), c.descriptions) for c in taxonomy.classes])


def describe_taxonomy(taxonomy: Taxonomy, mode: TextMode) -> Taxonomy:
    """The same classes with the sentences that a backbone's text tower reads, at least one for every class.

    Args:
        taxonomy: Classes, with or without descriptions of their own.
        mode: ``descriptions``: the class's own sentences, else the bundled ones, else the templates. ``names``: the
            bare name. ``templates``: the name in the usual zero-shot sentences (after Radford et al. 2021, section
            3.1.4), of photos for the VOC classes, of H&E images for all others.
    """
    return taxonomy.with_descriptions([_sentences(c, mode) for c in taxonomy.classes])


def _sentences(tissue: TissueClass, mode: TextMode) -> tuple[str, ...]:
    """The sentences of one class under a mode."""
    if mode == "names":
        return (tissue.name,)
    if mode == "templates":
        return _from_templates(tissue.name)
    return tissue.descriptions or bundled_descriptions(tissue.name) or _from_templates(tissue.name)


def _from_templates(name: str) -> tuple[str, ...]:
    """The name in the templates of its kind of picture; unknown names are taken for tissue."""
    found = _bundle().get(name_key(name))
    photo = found is not None and found[0].picture == "photo"
    return tuple(t.format(name) for t in (PHOTO_TEMPLATES if photo else HISTOLOGY_TEMPLATES))
