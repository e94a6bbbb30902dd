"""Which picture of a TIFF is the scan, and what the file states of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from aczerots.errors import InputError
from aczerots.slides.resolution import Stated, micrometres, stated

_ASIDE = re.compile(r"(?<![a-z])(label|macro|thumb|thumbnail|overview|preview|barcode)(?![a-z-])", re.IGNORECASE)
"""Names of pictures that scanners add to the scan."""

_AXES = {"Z": "focal planes", "T": "time points", "C": "channels", "S": "samples per pixel"}
_NO_NAME = re.compile(r"(c|ch|channel)?[\s_:#\d-]*|.*(rgb|bright).*", re.IGNORECASE)
"""Names of channels that do not speak against red, green and blue."""

_COLOURS = [re.compile(rf"(?<![a-z])({word})(?![a-z])", re.IGNORECASE) for word in ("r|red", "g|green", "b|blue")]

_ALONE = "Save the scan alone, as 8-bit RGB"


def scan_of(tiff: Any, path: Path) -> Any:
    """The series of a ``tifffile.TiffFile`` that is the scan: the largest, without label, macro and thumbnail.

    Raises:
        InputError: It is not clear which one is the scan, or it is no single picture (focal planes, time points,
            fluorescence channels).
    """
    scans = [s for s in tiff.series if not _ASIDE.search(_title(s))] or list(tiff.series)
    if not scans:
        raise InputError("the file holds no picture", where=path, fix="Leave it out")
    scan = max(scans, key=lambda s: _size(s)[0] * _size(s)[1])
    pictures = [scan, *(s for s in scans if s is not scan and _rivals(tiff, s, scan))]
    if len(pictures) > 1:
        names = ", ".join("{1} x {2}{0}".format(f" '{s.name}'" if s.name else "", *_size(s)) for s in pictures[:6])
        what = f"the file holds {len(pictures)} pictures that may be the scan: {names}"
        raise InputError(what, where=path, fix="Save each as a file of its own")
    problem = _stacked(tiff, scan)
    if problem:
        raise InputError(problem, where=path, fix=_ALONE)
    return scan


def stated_by(tiff: Any, series: Any) -> Stated | None:
    """What a TIFF states of a series: in its OME description, for ImageJ, or in its resolution tags."""
    if tiff.is_ome:
        pixels = _ome_pixels(tiff, series)
        return None if pixels is None else stated(*(_ome_length(pixels, axis) for axis in "XY"))
    tags = series.keyframe.tags
    unit = micrometres(str((tiff.imagej_metadata or {}).get("unit", "")))
    inch_or_cm = {2: 25400.0, 3: 10000.0}.get(int(tags.valueof("ResolutionUnit", default=1)))
    per_unit = unit or inch_or_cm
    if per_unit is None:
        return None
    pair = [tags.valueof(name, default=(0, 1)) for name in ("XResolution", "YResolution")]
    x, y = (per_unit * below / above if above else None for above, below in pair)
    return stated(x, y, loose=unit is None)


def _title(series: Any) -> str:
    """Name of a series: OME's, else the beginning of its page's description."""
    return str(series.name or ("" if series.kind == "ome" else series.keyframe.description[:200]))


def _size(series: Any) -> tuple[int, int]:
    """(width, height) in pixels."""
    return int(series.keyframe.imagewidth), int(series.keyframe.imagelength)


def _rivals(tiff: Any, other: Any, scan: Any) -> bool:
    """Whether another picture may be meant as well: no smaller copy of the scan and no small picture beside it."""
    (w, h), (width, height) = _size(other), _size(scan)
    across, down = width / w, height / h
    if min(across, down) >= 1.8 and abs(across / down - 1) <= 0.02 + 1 / min(w, h):
        return False
    if across * down < 4:
        return True
    found = [stated_by(tiff, s) for s in (other, scan)] if tiff.is_ome else [None]
    same = all(found) and max(f.mean for f in found if f) / min(f.mean for f in found if f) < 1.02
    return bool(same) and across * down < 50


def _stacked(tiff: Any, series: Any) -> str | None:
    """Why a series is no single picture, None if it is one."""
    more = {a: int(n) for a, n in zip(series.axes, series.shape, strict=True) if a not in "YX" and n > 1}
    colours = [a for a in more if a in "CS"]
    wrong = {a: n for a, n in more.items() if a not in "CS" or (a == "C" and n != 3)}
    if len(colours) > 1:
        wrong = more
    if wrong:
        found = " and ".join(f"{n} {_AXES.get(a, 'pictures of the same size')}" for a, n in wrong.items())
        return f"the file holds {found}, not one picture in red, green and blue"
    names = _channel_names(tiff, series) if "C" in more else []
    if names and not _are_colours(names):
        return f"the file holds the channels {', '.join(names)}, not red, green and blue"
    return None


def _are_colours(names: list[str]) -> bool:
    """Whether the names of three channels are those of red, green and blue, or say nothing."""
    return all(_NO_NAME.fullmatch(n) for n in names) or all(c.search(n) for c, n in zip(_COLOURS, names, strict=False))


def _channel_names(tiff: Any, series: Any) -> list[str]:
    """Name or dye of each channel that an OME description names."""
    pixels = _ome_pixels(tiff, series) if tiff.is_ome else None
    if pixels is None:
        return []
    found = []
    for channel in _children(pixels, "Channel"):
        wave = channel.get("EmissionWavelength")
        found.append(channel.get("Fluor") or channel.get("Name") or (f"{wave} nm" if wave else ""))
    return found if any(found) else []


def _children(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Children of that name in any namespace."""
    return [e for e in element if str(e.tag).rpartition("}")[2] == name]


def _ome_pixels(tiff: Any, series: Any) -> ElementTree.Element | None:
    """The element ``Pixels`` of a series in the OME description."""
    text = str(tiff.ome_metadata or "")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        # Some programs write names such as H&E as they are.
        try:
            root = ElementTree.fromstring(re.sub(r"&(?!#?\w+;)", "&amp;", text))
        except ElementTree.ParseError:
            return None
    images = [(i, p) for i in _children(root, "Image") for p in _children(i, "Pixels")]
    size = tuple(str(n) for n in _size(series))
    fitting = [(i, p) for i, p in images if (p.get("SizeX"), p.get("SizeY")) == size] or images[:1]
    named = [p for i, p in fitting if i.get("Name") == series.name]
    return next(iter(named or [p for _, p in fitting]), None)


def _ome_length(pixels: ElementTree.Element, axis: str) -> float | None:
    """PhysicalSizeX or Y in micrometres."""
    factor = micrometres(pixels.get(f"PhysicalSize{axis}Unit", "um"))
    try:
        return None if factor is None else float(pixels.get(f"PhysicalSize{axis}", "")) * factor
    except ValueError:
        return None
