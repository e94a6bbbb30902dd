"""Bundled descriptions: sentences on how common classes look, and how a taxonomy gets its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from aczerots.config import TextMode
from aczerots.errors import InputError
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


class Entry(BaseModel):
    """One described class of a file.

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


class Group(BaseModel):
    """A file of descriptions: classes of one organ, or of everyday photos.

    Attributes:
        picture: What kind of picture the sentences are about.
        organ: Where the classes are found.
        sources: What the knowledge was taken from: books, sites, or the language model that wrote it.
        classes: The classes.
        origins: Of classes that a language model wrote: class name to model and hashes of prompt and answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: Picture = "histology"
    organ: Name | None = None
    sources: tuple[Name, ...] = ()
    classes: tuple[Entry, ...] = Field(min_length=1)
    origins: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)


@dataclass(frozen=True)
class _Bundle:
    """All bundle files read; keys of ``entries`` are normalised names and aliases."""

    names: tuple[str, ...]
    entries: Mapping[str, tuple[Group, Entry]]


def name_key(name: str) -> str:
    """A name as it is compared: letters and digits in lower case, American spelling of tumor."""
    return "".join(c for c in name.lower() if c.isalnum()).replace("tumour", "tumor")


def read_group(text: str, where: object, fix: str = "") -> Group:
    """The content of a file of descriptions, checked.

    Raises:
        InputError: Not YAML, not of the expected form, or a class is there twice.
    """
    try:
        group = Group.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise InputError(f"this is not YAML: {' '.join(str(error).split())}", where=where, fix=fix) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "content"
        raise InputError(f"'{key}': {first['msg'].lower()}", where=where, fix=fix) from error
    names = [name_key(n) for e in group.classes for n in (e.name, *e.aliases)]
    double = next((n for n in names if names.count(n) > 1), None)
    if double is not None:
        raise InputError(f"names the class '{double}' twice", where=where, fix=fix)
    return group


def read_descriptions(path: Path) -> Group:
    """A user's file of descriptions, as ``aczerots describe`` writes it.

    Raises:
        InputError: It cannot be read, or is not of the expected form.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from error
    except UnicodeDecodeError as error:
        raise InputError("this is not UTF-8 text", where=path) from error
    return read_group(text, path, "It needs 'classes', a list of 'name' with 'descriptions', a list of sentences")


@cache
def _bundle() -> _Bundle:
    """The bundle, read once.

    Raises:
        InputError: A file is damaged, or two classes share a name.
    """
    names: list[str] = []
    entries: dict[str, tuple[Group, Entry]] = {}
    folder = files("aczerots.text") / "data"
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".yaml"):
            continue
        group = read_group(file.read_text(encoding="utf-8"), file.name, "The bundle is damaged: reinstall aczerots")
        for entry in group.classes:
            names.append(entry.name)
            for name in (entry.name, *entry.aliases):
                if name_key(name) in entries:
                    raise InputError(f"the bundled descriptions name '{name}' twice", where=file.name)
                entries[name_key(name)] = (group, entry)
    return _Bundle(tuple(names), MappingProxyType(entries))


def known_classes() -> tuple[str, ...]:
    """Names of all bundled classes, by file and in file order, without aliases."""
    return _bundle().names


def bundled_descriptions(name: str) -> tuple[str, ...] | None:
    """Sentences that come with the package for a class.

    Args:
        name: Name or alias; case, spaces, hyphens and underscores do not matter.

    Returns:
        At least six sentences (five for the VOC classes), None if the class is unknown.
    """
    found = _bundle().entries.get(name_key(name))
    return None if found is None else found[1].descriptions


def bundled_source(name: str) -> str | None:
    """Where the knowledge about a bundled class can be read up, None if the class is unknown."""
    found = _bundle().entries.get(name_key(name))
    if found is None:
        return None
    group, entry = found
    return entry.topic or "; ".join(group.sources)


def undescribed(taxonomy: Taxonomy) -> tuple[str, ...]:
    """Names of the classes with neither own nor bundled sentences, in label order.

    :func:`describe_taxonomy` gives them the templates of their name, which say nothing about their looks; the
    user should be told.
    """
    return tuple(c.name for c in taxonomy.classes if not c.descriptions and bundled_descriptions(c.name) is None)


def with_own_words(taxonomy: Taxonomy, group: Group, where: object) -> Taxonomy:
    """The classes with the sentences of a user's file, which win over those of the dataset.

    Raises:
        InputError: The file describes none of the classes.
    """
    words = {name_key(n): e.descriptions for e in group.classes for n in (e.name, *e.aliases)}
    if not any(name_key(name) in words for name in taxonomy.names):
        known = ", ".join(e.name for e in group.classes)
        raise InputError(
            f"describes none of the classes {', '.join(taxonomy.names)}", where=where, fix=f"It describes: {known}"
        )
    return taxonomy.with_descriptions([words.get(name_key(c.name), c.descriptions) for c in taxonomy.classes])


def describe_taxonomy(taxonomy: Taxonomy, mode: TextMode) -> Taxonomy:
    """The same classes with the sentences that a backbone's text tower shall read.

    Args:
        taxonomy: Classes, with or without descriptions of their own.
        mode: ``descriptions``: the class's own sentences, else the bundled ones, else (see
            :func:`undescribed`) the templates. ``names``: the bare name. ``templates``: the name in the usual
            zero-shot sentences (after Radford et al. 2021, section 3.1.4), of photos for the VOC classes, of
            H&E images for all others.

    Returns:
        A taxonomy in which every class has at least one description.
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
    found = _bundle().entries.get(name_key(name))
    photo = found is not None and found[0].picture == "photo"
    return tuple(t.format(name) for t in (PHOTO_TEMPLATES if photo else HISTOLOGY_TEMPLATES))
