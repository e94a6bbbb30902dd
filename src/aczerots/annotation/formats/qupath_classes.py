"""How QuPath writes what an object is and which class it has, in every version that writes GeoJSON.

Sources: ``QuPathTypeAdapters``, ``PathObjectTypeAdapters``, ``GsonTools`` and ``PathClass`` in its ``qupath-core``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from aczerots.errors import InputError, SettingsError
from aczerots.taxonomy import Taxonomy

ANNOTATION = "annotation"

_ANNOTATIONS = frozenset({ANNOTATION, "unknown", "PathAnnotationObject"})

_OTHERS = frozenset(
    {"tile", "cell", "tmaCore", "tma_core", "detection", "root"}
    | {"PathTileObject", "PathCellObject", "TMACoreObject", "PathDetectionObject", "PathRootObject"}
)

_JOINT = ": "
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONG = 80


def object_type(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> object:
    """What a feature is: :data:`ANNOTATION`, or the word that the file has for it.

    ``objectType`` (since 0.4), ``object_type`` (0.3), ``type`` (an alias that QuPath reads), or the ``id`` of the
    feature (0.2). The last two count only with QuPath's own words, since other programs use them for other things.
    """
    for key in ("objectType", "object_type"):
        if properties.get(key) is not None:
            found = properties[key]
            return ANNOTATION if isinstance(found, str) and found in _ANNOTATIONS else found
    for found in (properties.get("type"), feature.get("id")):
        if isinstance(found, str) and found in _OTHERS:
            return found
    return ANNOTATION


def with_children(feature: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A feature and the features nested in it (``childObjects``, since 0.4, or ``children``), parents first."""
    waiting = [feature]
    while waiting:
        one = waiting.pop()
        yield one
        properties = one.get("properties")
        if isinstance(properties, dict):
            found = properties.get("childObjects", properties.get("children"))
            if isinstance(found, list):
                waiting.extend(child for child in reversed(found) if isinstance(child, dict))


def xml_text(text: str) -> str:
    """The text with a replacement for every character that XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)


def qupath_name(name: str) -> str:
    """The name of a class as QuPath writes it.

    QuPath splits names at colons, strips the parts, joins them with ``": "``, and accepts neither empty parts nor
    line breaks.
    """
    parts = (" ".join(part.split()) for part in xml_text(name).split(":"))
    return _JOINT.join(part for part in parts if part)


def qupath_names(taxonomy: Taxonomy) -> tuple[str, ...]:
    """The names that the classes have in QuPath, in label order.

    Classes whose names QuPath cannot tell apart get numbers: ``a:b`` is ``a: b (1)`` there if another class is
    ``a: b``.
    """
    plain = [qupath_name(name) or "class" for name in taxonomy.names]
    taken, found = set(plain), []
    for own, name in zip(plain, taxonomy.names, strict=True):
        wanted = own
        if plain.count(own) > 1 and own != name:
            wanted = next(text for i in count(1) if (text := f"{own} ({i})") not in taken)
            taken.add(wanted)
        found.append(wanted)
    return tuple(found)


def class_name(properties: Mapping[str, Any], where: str) -> str | None:
    """Name of the class of a feature; None without one.

    ``name``, or ``names`` for a derived class (since 0.4), or ``name`` within nested ``parentClass`` (before).

    Raises:
        InputError: There is a classification, and it has no name.
    """
    found = properties.get("classification")
    if found is None:
        return None
    if not isinstance(found, dict):
        raise InputError("has a classification that is no object", where=where)
    names = found.get("names")
    if isinstance(names, list) and names and all(isinstance(n, str) for n in names):
        return _JOINT.join(names)
    if found.get("name") is None and names is None:
        return None
    parts: list[str] = []
    while isinstance(found, dict) and found:
        name = found.get("name")
        if not isinstance(name, str):
            raise InputError("has a classification without a name", where=where)
        parts.append(name)
        found = found.get("parentClass")
    return _JOINT.join(reversed(parts))


def locate_class(name: str, taxonomy: Taxonomy, where: str) -> int:
    """Label id of a class by its own name, by that of :func:`qupath_names`, or by one that QuPath takes for the same.

    Raises:
        InputError: The taxonomy has no such class.
    """
    for known, asked in ((taxonomy.names, name), (qupath_names(taxonomy), qupath_name(name))):
        if known.count(asked) == 1:
            return known.index(asked)
    try:
        return taxonomy.index(name)
    except SettingsError as error:
        raise InputError(f"is of the unknown class {shown(name)}", where=where, fix=error.fix) from None


def shown(name: object) -> str:
    """A name from outside, short and without control characters."""
    text = repr(name)
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."
