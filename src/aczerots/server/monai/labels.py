"""Labels as clients of MONAI Label send and expect them: ASAP files, and masks with 0 for "not annotated"."""

from __future__ import annotations

import io
import json

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from aczerots.annotation.formats.asap import read_asap, write_asap
from aczerots.annotation.formats.geojson import Drawing, Drawings
from aczerots.annotation.formats.masks import only_seen
from aczerots.annotation.formats.qupath_classes import qupath_names
from aczerots.annotation.formats.raster import vectorise
from aczerots.errors import InputError
from aczerots.server.monai.images import Image
from aczerots.slides.base import Box
from aczerots.taxonomy import Taxonomy

BACKGROUND = 0
"""MONAI's masks begin with the background; a class has its position + 1."""


def label_numbers(taxonomy: Taxonomy) -> dict[str, int]:
    """Number of each class in masks."""
    return {name: i + 1 for i, name in enumerate(taxonomy.names)}


def read_label(data: bytes, image: Image, taxonomy: Taxonomy) -> Drawings:
    """The drawings of a label file, in level-0 pixels of the slide.

    Raises:
        InputError: Neither ASAP annotations nor a mask of the image, or something in it is wrong.
    """
    if data.startswith(b"\x89PNG"):
        return _from_mask(_read_mask(data, image.box, taxonomy), image.box, taxonomy)
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return read_asap(data, taxonomy)
    raise InputError("the label is neither an ASAP file (.xml) nor a mask (.png)", where="label")


def _read_mask(data: bytes, box: Box, taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """Label ids uint8 [h, w], IGNORE for the background."""
    try:
        with Picture.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.size != (box.width, box.height) or picture.mode not in {"1", "L", "P"}:
                wanted = f"{box.width} x {box.height} with one byte per pixel"
                raise InputError(f"the mask is {picture.width} x {picture.height} {picture.mode}, not {wanted}")
            numbers = np.array(picture, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise InputError(f"the mask cannot be read ({error})", where="label") from None
    if int(numbers.max()) > len(taxonomy):
        known = ", ".join(f"{i} {name}" for name, i in label_numbers(taxonomy).items())
        raise InputError(f"the mask has the number {numbers.max()}", where="label", fix=f"Use 0 nothing, {known}")
    return numbers - np.uint8(1)  # 0 becomes 255, which is IGNORE


def _from_mask(mask: NDArray[np.uint8], box: Box, taxonomy: Taxonomy) -> Drawings:
    """Regions of seen classes; those of unseen ones are not annotated."""
    regions = enumerate(vectorise(only_seen(mask, taxonomy), box), start=1)
    return Drawings(tuple(Drawing(i, label, polygon) for i, (label, polygon) in regions), ())


def write_mask(labels: NDArray[np.uint8]) -> bytes:
    """PNG of label ids uint8 [h, w], numbered as MONAI does."""
    buffer = io.BytesIO()
    Picture.fromarray(labels + np.uint8(1)).save(buffer, "PNG")
    return buffer.getvalue()


def write_asap_label(labels: NDArray[np.uint8], box: Box, name: str, taxonomy: Taxonomy, least: int) -> str:
    """ASAP file of label ids uint8 [h, w]; regions of less than ``least`` level-0 pixels are left out."""
    regions = [(i, p) for i, p in vectorise(labels, box) if p.area >= least]
    names = qupath_names(taxonomy)
    named = [(names[i], taxonomy.classes[i].color, p) for i, p in regions]
    return write_asap(named, name, (box.x, box.y))


def write_dsa_label(labels: NDArray[np.uint8], box: Box, name: str, taxonomy: Taxonomy, least: int) -> str:
    """The same as an annotation of the Digital Slide Archive, JSON: closed lines with holes as lines of their own."""
    elements = []
    for label, polygon in vectorise(labels, box):
        if polygon.area >= least:
            tissue = taxonomy.classes[label]
            elements.append(
                {
                    "type": "polyline",
                    "group": tissue.name,
                    "label": {"value": tissue.name},
                    "lineColor": f"rgb{tissue.color}",
                    "lineWidth": 2,
                    "closed": True,
                    "points": [[x, y, 0] for x, y in polygon.exterior.coords[:-1]],
                    "holes": [[[x, y, 0] for x, y in ring.coords[:-1]] for ring in polygon.interiors],
                }
            )
    return json.dumps({"name": f"aczerots {name}", "description": "aczerots", "elements": elements})
