"""The classes that ``init`` is given: a file, or names with ``seen`` or ``unseen`` in one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aczerots.errors import InputError, SettingsError, first_complaint
from aczerots.storage.yaml_file import read_yaml
from aczerots.taxonomy import Channel, TissueClass

COLORS: tuple[tuple[Channel, Channel, Channel], ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (86, 180, 233),
    (213, 94, 0),
    (51, 34, 136),
    (68, 170, 153),
    (153, 153, 51),
    (136, 34, 85),
    (204, 121, 167),
    (170, 68, 153),
)
"""Colours that people with colour-vision deficiency tell apart: Okabe and Ito (2008), Tol's muted scheme (2021). The
purples are last, since they vanish on eosin. The page has the same colours, so that QuPath shows a class as it does."""


def read_classes(text: str) -> tuple[TissueClass, ...]:
    """Tissue classes from a YAML file or from ``name:seen,name:unseen``; a bare name is seen.

    A file holds a list ``classes`` (or just the list) of ``name``, and optionally ``color``, ``seen``,
    ``descriptions``, as in ``dataset.yaml``. Classes without colour get one of :data:`COLORS`.

    Raises:
        InputError: The file cannot be read, or an entry is wrong.
        SettingsError: A word after the colon that is neither ``seen`` nor ``unseen``.
    """
    path = Path(text).expanduser()
    if path.suffix.lower() in {".yaml", ".yml"} or ("," not in text and ":" not in text and path.is_file()):
        return _coloured(_listed(path), path)
    return _coloured([_named(part.strip()) for part in text.split(",") if part.strip()], "--classes")


def _named(part: str) -> Mapping[str, Any]:
    """The class that ``name:seen``, ``name:unseen`` or ``name`` stands for."""
    name, colon, mark = part.rpartition(":")
    if not colon:
        return {"name": part}
    if mark.strip() not in {"seen", "unseen"} or not name.strip():
        fix = 'Write them like "tumor:seen,necrosis:unseen"'
        raise SettingsError(f"'{part}' names no class", where="--classes", fix=fix)
    return {"name": name.strip(), "seen": mark.strip() == "seen"}


def _listed(path: Path) -> list[Any]:
    """The entries of a file."""
    content = read_yaml(path)
    found = content.get("classes") if isinstance(content, dict) else content
    if not isinstance(found, list):
        raise InputError("has no list of classes", where=path, fix="Begin it with 'classes:' and '- name: tumor'")
    return found


def _coloured(entries: list[Any], where: object) -> tuple[TissueClass, ...]:
    """The classes of some entries, each with a colour."""
    classes = []
    for i, entry in enumerate(entries):
        colour: dict[str, Any] = {"color": COLORS[i % len(COLORS)]}
        try:
            classes.append(TissueClass.model_validate({**colour, **entry} if isinstance(entry, Mapping) else entry))
        except ValidationError as error:
            key, what = first_complaint(error, "class")
            raise InputError(f"class {i + 1}, '{key}': {what}", where=where) from None
    if not classes:
        raise SettingsError("names no class", where=where)
    return tuple(classes)
