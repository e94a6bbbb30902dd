"""Bundled descriptions: sentences on how common classes look, and how a taxonomy gets its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
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


class _Entry(BaseModel):
    """One described class of a bundle file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    aliases: tuple[Name, ...] = ()
    descriptions: tuple[Name, ...] = Field(min_length=1)


class _Group(BaseModel):
    """A bundle file: classes of one organ, or of everyday photos."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: Picture
    classes: tuple[_Entry, ...] = Field(min_length=1)


@dataclass(frozen=True)
class _Bundle:
    """All bundle files read; keys of ``entries`` are normalised names and aliases."""

    names: tuple[str, ...]
    entries: Mapping[str, tuple[Picture, _Entry]]


def _key(name: str) -> str:
    """A name as it is compared: letters and digits in lower case, American spelling of tumor."""
    return "".join(c for c in name.lower() if c.isalnum()).replace("tumour", "tumor")


def _read_group(text: str, where: str) -> _Group:
    """A bundle file's content, checked.

    Raises:
        InputError: Not YAML, or not of the expected form.
    """
    try:
        return _Group.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        raise InputError(f"the bundled descriptions are damaged ({error})", where=where, fix="Reinstall") from error


@cache
def _bundle() -> _Bundle:
    """The bundle, read once.

    Raises:
        InputError: A file is damaged, or two classes share a name.
    """
    names: list[str] = []
    entries: dict[str, tuple[Picture, _Entry]] = {}
    folder = files("aczerots.text") / "data"
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".yaml"):
            continue
        group = _read_group(file.read_text(encoding="utf-8"), file.name)
        for entry in group.classes:
            names.append(entry.name)
            for name in (entry.name, *entry.aliases):
                if _key(name) in entries:
                    raise InputError(f"the bundled descriptions name '{name}' twice", where=file.name)
                entries[_key(name)] = (group.picture, entry)
    return _Bundle(tuple(names), MappingProxyType(entries))


def known_classes() -> tuple[str, ...]:
    """Names of all bundled classes, by file and in file order, without aliases."""
    return _bundle().names


def bundled_descriptions(name: str) -> tuple[str, ...] | None:
    """Sentences that come with the package for a class.

    Args:
        name: Name or alias; case, spaces, hyphens and underscores do not matter.

    Returns:
        At least five sentences, None if the class is unknown.
    """
    found = _bundle().entries.get(_key(name))
    return None if found is None else found[1].descriptions


def undescribed(taxonomy: Taxonomy) -> tuple[str, ...]:
    """Names of the classes with neither own nor bundled sentences, in label order.

    :func:`describe_taxonomy` gives them the templates of their name, which say nothing about their looks; the
    user should be told.
    """
    return tuple(c.name for c in taxonomy.classes if not c.descriptions and bundled_descriptions(c.name) is None)


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
    found = _bundle().entries.get(_key(name))
    photo = found is not None and found[0] == "photo"
    return tuple(t.format(name) for t in (PHOTO_TEMPLATES if photo else HISTOLOGY_TEMPLATES))
