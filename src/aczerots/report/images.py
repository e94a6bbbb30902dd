"""Label maps and uncertainty as pictures: palette PNG, overlay, colour map."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aczerots.errors import InputError
from aczerots.storage.files import write_bytes_atomic
from aczerots.taxonomy import IGNORE, Taxonomy

NEUTRAL = (190, 190, 190)
"""RGB of pixels that say nothing: IGNORE in label maps, undefined values in uncertainty maps."""


def _check_labels(labels: NDArray[np.uint8], taxonomy: Taxonomy) -> None:
    """Refuse what is no label map of this taxonomy."""
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise InputError(f"a label map is uint8 [h, w], not {labels.dtype} {list(labels.shape)}")
    outside = np.unique(labels[(labels >= len(taxonomy)) & (labels != IGNORE)])
    if outside.size:
        raise InputError(f"label id {outside[0]} is outside the taxonomy of {len(taxonomy)} classes")


def display_palette(taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """RGB colours uint8 [256, 3] of the label ids as shown; IGNORE is :data:`NEUTRAL`."""
    palette = taxonomy.palette
    palette[IGNORE] = NEUTRAL
    return palette


def write_palette_png(path: Path, labels: NDArray[np.uint8], taxonomy: Taxonomy) -> None:
    """Write label ids uint8 [h, w] as an indexed PNG in the taxonomy's colours; replaces the file.

    Raises:
        InputError: An id outside the taxonomy.
        StorageError: The file cannot be written.
    """
    _check_labels(labels, taxonomy)
    picture = Image.fromarray(np.ascontiguousarray(labels), mode="P")
    picture.putpalette(display_palette(taxonomy).tobytes())
    _write(path, picture)


def write_png(path: Path, pixels: NDArray[np.uint8], compression: int = 6) -> None:
    """Write RGB uint8 [h, w, 3] or grey uint8 [h, w] pixels as a PNG; replaces the file.

    The compression is 1 to 9; photographs gain little from more than 2.

    Raises:
        StorageError: The file cannot be written.
    """
    _write(path, Image.fromarray(pixels), compression)


def _write(path: Path, picture: Image.Image, compression: int = 6) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=compression)
    write_bytes_atomic(path, buffer.getvalue())


def outlines(labels: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """Pixels less than ``width`` >= 1 pixels, along a row or column, from a pixel of another label: bool [h, w].

    The rim of the picture, label ids uint8 [h, w], is no border.
    """
    edge = np.zeros(labels.shape, dtype=bool)
    for step in range(1, width + 1):
        across = labels[:, step:] != labels[:, :-step]
        down = labels[step:, :] != labels[:-step, :]
        edge[:, step:] |= across
        edge[:, :-step] |= across
        edge[step:, :] |= down
        edge[:-step, :] |= down
    return edge


def overlay(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], taxonomy: Taxonomy, alpha: float = 0.4
) -> NDArray[np.uint8]:
    """The image RGB uint8 [h, w, 3] tinted by class, each region with a thin outline in its full colour.

    The label ids uint8 [h, w] are in the frame of the image; pixels labelled IGNORE keep its colour. ``alpha`` is the
    opacity of the tint, 0 to 1.

    Raises:
        InputError: Sizes differ, or an id is outside the taxonomy.
    """
    _check_labels(labels, taxonomy)
    if image.shape != (*labels.shape, 3):
        raise InputError(f"the image is {list(image.shape)} and its label map {list(labels.shape)}")
    colors = taxonomy.palette[labels].astype(np.float32)
    opacity = np.where(labels == IGNORE, 0.0, alpha).astype(np.float32)
    edge = outlines(labels, max(1, round(min(labels.shape) / 250)))
    opacity[edge & (labels != IGNORE)] = 1.0
    mixed = image + opacity[..., None] * (colors - image)
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def uncertainty_map(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Values float [h, w] in 0..1 as RGB uint8 [h, w, 3]: 0 (certain) is dark blue, 1 (uncertain) yellow, NaN grey.

    Cividis is perceptually uniform and reads the same with and without colour-vision deficiency (Nunez,
    Anderton and Renslow, PLOS ONE 13(7), 2018, e0199239).

    Raises:
        ValueError: A value lies outside 0..1.
    """
    import matplotlib as mpl

    undefined = np.isnan(values)
    defined = np.where(undefined, 0.0, values)
    if defined.size and (defined.min() < -1e-6 or defined.max() > 1 + 1e-6):
        raise ValueError(f"uncertainty must lie in 0..1, not {defined.min():g}..{defined.max():g}")
    colors = mpl.colormaps["cividis"](defined, bytes=True)[..., :3].astype(np.uint8)
    colors[undefined] = NEUTRAL
    return colors
