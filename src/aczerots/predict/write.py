"""The files of a slide from its labels: pyramids or mask, overlay, polygons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aczerots.engine.progress import Progress
from aczerots.errors import MissingExtraError
from aczerots.predict.polygons import geojson, polygon_features
from aczerots.predict.pyramid import LabelPyramid, write_ome_tiff, write_plain_tiff
from aczerots.report.images import display_palette, overlay, write_palette_png, write_png
from aczerots.slides.base import Box, Slide
from aczerots.slides.frame import frame_of
from aczerots.slides.image import ImageSlide
from aczerots.slides.pixels import nearest
from aczerots.slides.tissue import thumbnail
from aczerots.slides.windows import WindowPlan
from aczerots.storage.files import write_text_atomic
from aczerots.taxonomy import Taxonomy

TRACED = 26_000_000
"""Pixels of the level that polygons are traced on, at most; memory must not follow the slide."""


def write_map(
    slide: Slide, plan: WindowPlan, pyramid: LabelPyramid, taxonomy: Taxonomy, out: Path, key: str, progress: Progress
) -> list[str]:
    """Write the files of a slide from its labels, in the frame of the slide, which they state.

    Args:
        slide: The slide.
        plan: Its windows.
        pyramid: Its labels.
        taxonomy: The classes.
        out: The folder.
        key: Names the content.
        progress: Hears what could not be written for want of a library.

    Returns:
        Their names.

    Raises:
        InputError: The slide cannot be read.
        StorageError: A file cannot be written.
    """
    names, frame = [f"{slide.id}.overlay.png"], frame_of(slide)
    write_png(out / names[0], _overlay(slide, pyramid, taxonomy), compression=2)
    if isinstance(slide, ImageSlide):
        names.append(f"{slide.id}.mask.png")
        labels = nearest(pyramid.labels(0), Box(0, 0, *plan.size), slide.size)
        write_palette_png(out / names[-1], labels, taxonomy)
    else:
        names += [f"{slide.id}.labels.ome.tif", f"{slide.id}.labels.tif"]
        write_ome_tiff(out / names[-2], pyramid, plan.mpp, slide.id, key, about=str(frame))
        write_plain_tiff(out / names[-1], pyramid, plan.mpp, display_palette(taxonomy), about=str(frame))
    level = pyramid.level_within(min(TRACED, int(plan.size[0] * plan.size[1] / (plan.cell / 4) ** 2) + 1))
    # A level is the map halved so often, whatever the rounding of its size.
    scale = plan.scale * 2**level
    try:
        features = polygon_features(pyramid.labels(level), taxonomy, (scale, scale), mpp=slide.mpp)
    except MissingExtraError as error:
        if not isinstance(slide, ImageSlide):
            raise
        progress.say(f"{slide.id}: no polygons; {error}")
        return names
    names.append(f"{slide.id}.geojson")
    write_text_atomic(out / names[-1], geojson(features, frame))
    return names


def _overlay(slide: Slide, pyramid: LabelPyramid, taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """A small picture of the slide tinted by class, RGB uint8 [h, w, 3]."""
    picture, _ = thumbnail(slide, finest=0.0)
    height, width = picture.shape[:2]
    level = max(i for i, size in enumerate(pyramid.sizes) if i == 0 or (size[0] >= width and size[1] >= height))
    labels = pyramid.labels(level)
    full = Box(0, 0, labels.shape[1], labels.shape[0])
    return overlay(picture, nearest(labels, full, (width, height)), taxonomy, 0.45)
