"""How QuPath writes what an object is and which class it has, in every version that writes GeoJSON.

Sources: ``QuPathTypeAdapters``, ``PathObjectTypeAdapters``, ``GsonTools`` and ``PathClass`` in its ``qupath-core``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


def qupath_name(name: str) -> str:
    """The name that a class has in QuPath.

    QuPath splits names at colons, strips the parts, joins them with ``": "``, and accepts neither empty parts nor
    line breaks.
    """
    parts = (" ".join(part.split()) for part in name.split(":"))
    return _JOINT.join(part for part in parts if part)


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
    """Label id of a class by its own name, or by the only one that QuPath makes of it.

    Raises:
        InputError: The taxonomy has no such class.
    """
    alike = [i for i, known in enumerate(taxonomy.names) if qupath_name(known) == qupath_name(name)]
    if name not in taxonomy.names and len(alike) == 1:
        return alike[0]
    try:
        return taxonomy.index(name)
    except SettingsError as error:
        raise InputError(f"is of the unknown class {shown(name)}", where=where, fix=error.fix) from None


def shown(name: object) -> str:
    """A name from outside, short and without control characters."""
    text = repr(name)
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."
