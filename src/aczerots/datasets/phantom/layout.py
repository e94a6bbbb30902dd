"""Where each tissue is: regions along an axis, then the structures inside and between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from aczerots.datasets.phantom.classes import Tissue
from aczerots.datasets.phantom.fields import Field, cells, fractal, noise, sample, scatter
from aczerots.datasets.phantom.glands import Gland, gland_depth, place_glands

Region = NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """The tissues of a slide.

    Attributes:
        axis: Tissues in their order across the slide.
        within: Fraction of its host that a structure takes: necrosis of tumor, all others of stroma.
    """

    axis: tuple[Tissue, ...]
    within: Mapping[Tissue, float]


T = Tissue
SCENES = (
    Scene((T.TUMOR, T.STROMA), {T.LYMPHOCYTES: 0.3, T.NECROSIS: 0.3, T.BLOOD: 0.2}),
    Scene((T.STROMA, T.MUSCLE, T.FAT), {T.GLANDS: 0.9, T.LYMPHOCYTES: 0.35}),
    Scene((T.TUMOR, T.STROMA, T.FAT), {T.LYMPHOCYTES: 0.35, T.BLOOD: 0.15}),
    Scene((T.BACKGROUND, T.STROMA, T.MUSCLE), {T.GLANDS: 0.9, T.BLOOD: 0.25}),
    Scene((T.STROMA, T.TUMOR, T.BACKGROUND), {T.NECROSIS: 0.4, T.LYMPHOCYTES: 0.25}),
    Scene((T.STROMA, T.TUMOR), {T.GLANDS: 0.7, T.LYMPHOCYTES: 0.4}),
    Scene((T.MUSCLE, T.STROMA, T.TUMOR), {T.BLOOD: 0.3, T.NECROSIS: 0.35}),
    Scene((T.FAT, T.STROMA, T.BACKGROUND), {T.BLOOD: 0.4, T.LYMPHOCYTES: 0.4}),
    Scene((T.STROMA, T.MUSCLE), {T.GLANDS: 0.7, T.BLOOD: 0.35}),
    Scene((T.TUMOR, T.STROMA, T.MUSCLE), {T.NECROSIS: 0.45, T.LYMPHOCYTES: 0.3}),
)
"""Every class is in at least three of the ten scenes; slides go through them in a seeded order."""


@dataclass(frozen=True)
class Layout:
    """The exact truth and the structures behind it.

    Attributes:
        labels: Tissue ids uint8 [h, w].
        glands: Outlines of the normal glands.
        gland_depth: Distance inwards from a gland's outline in pixels, float [h, w].
        fat_border: Distance to the next fat cell's border in pixels, float [h, w].
    """

    labels: NDArray[np.uint8]
    glands: tuple[Gland, ...]
    gland_depth: Field
    fat_border: Field


def lay_out(rng: np.random.Generator, scene: Scene, shape: tuple[int, int], px: float) -> Layout:
    """Draw the tissue map of one slide of ``shape`` (height, width) at ``px`` pixels per micrometre."""
    labels = _regions(rng, scene, shape, px)
    border = np.zeros(shape, dtype=np.float32)
    if Tissue.FAT in scene.axis:
        border = _whole_fat_cells(rng, labels, px)
    if Tissue.TUMOR in scene.axis:
        _nests(rng, labels, px)
    if Tissue.NECROSIS in scene.within:
        _necrosis(rng, labels, scene.within[Tissue.NECROSIS], px)
    glands: tuple[Gland, ...] = ()
    if Tissue.GLANDS in scene.within:
        core = _eroded(labels == Tissue.STROMA, 14 * px)
        glands = place_glands(rng, core, px, scene.within[Tissue.GLANDS])
    depth = gland_depth(glands, shape)
    open_to_glands = (labels == Tissue.STROMA) | (labels == Tissue.MUSCLE)
    labels[(depth > 0) & open_to_glands] = Tissue.GLANDS
    for tissue, scale in ((Tissue.LYMPHOCYTES, 55), (Tissue.BLOOD, 48)):
        if tissue in scene.within:
            hosts = labels == Tissue.STROMA
            labels[_patches(rng, hosts, scene.within[tissue], scale * px)] = tissue
    return Layout(_without_crumbs(labels, (7 * px) ** 2), glands, depth, border)


def _regions(rng: np.random.Generator, scene: Scene, shape: tuple[int, int], px: float) -> NDArray[np.uint8]:
    """Bands across the slide in a random direction, their borders warped at several scales."""
    height, width = shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    turn = rng.uniform(0, 2 * np.pi)
    along = y * np.float32(np.sin(turn)) + x * np.float32(np.cos(turn))
    places = np.linspace(-0.8, 0.8, len(scene.axis))
    best = np.full(shape, -np.inf, dtype=np.float32)
    labels = np.zeros(shape, dtype=np.uint8)
    for tissue, place in zip(scene.axis, places, strict=True):
        ragged = 0.12 if tissue == Tissue.BACKGROUND else 0.3
        score = -((along - np.float32(place)) ** 2) + np.float32(ragged) * fractal(rng, shape, 70 * px, 5)
        score += np.float32(rng.normal(0, 0.08))
        labels = np.where(score > best, np.uint8(tissue), labels)
        best = np.maximum(best, score)
    return labels


def _whole_fat_cells(rng: np.random.Generator, labels: NDArray[np.uint8], px: float) -> Field:
    """Make fat end at cell borders, in place; returns the distance to the cell border."""
    height, width = labels.shape
    points = scatter(rng, (height, width), 52 * px, jitter=0.17)
    owner, border = _bent(rng, *cells(points, (height, width)), px)
    fat = labels == Tissue.FAT
    count = np.bincount(owner.ravel(), minlength=len(points))
    fraction = np.bincount(owner.ravel(), weights=fat.ravel(), minlength=len(points)) / np.maximum(count, 1)
    whole = (fraction > 0.5)[owner]
    labels[fat & ~whole] = Tissue.STROMA
    labels[whole & (labels != Tissue.BACKGROUND)] = Tissue.FAT
    return border


def _bent(
    rng: np.random.Generator, owner: NDArray[np.intp], border: Field, px: float
) -> tuple[NDArray[np.intp], Field]:
    """Cells with curved instead of straight walls."""
    height, width = border.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y += np.float32(2.6 * px) * noise(rng, (height, width), 17 * px)
    x += np.float32(2.6 * px) * noise(rng, (height, width), 17 * px)
    y, x = np.clip(y, 0, height - 1.01), np.clip(x, 0, width - 1.01)
    bent = ndimage.gaussian_filter(sample(border, y, x), 1.2, truncate=2.5)
    return owner[np.rint(y).astype(np.intp), np.rint(x).astype(np.intp)], np.asarray(bent)


def _nests(rng: np.random.Generator, labels: NDArray[np.uint8], px: float) -> None:
    """Stroma septa through the tumor, wider towards its edge, and tumor buds in the stroma, in place."""
    height, width = labels.shape
    shape = (height, width)
    tumor = labels == Tissue.TUMOR
    coarse = np.asarray(ndimage.distance_transform_edt(tumor[::2, ::2]), dtype=np.float32)
    depth = coarse.repeat(2, 0).repeat(2, 1)[:height, :width] * np.float32(2 / px)
    ridge = np.abs(fractal(rng, shape, 42 * px, 3))
    septum = np.float32(rng.uniform(0.1, 0.2)) + np.float32(0.22) * np.exp(-depth / 30)
    labels[tumor & (ridge < septum)] = Tissue.STROMA
    buds = fractal(rng, shape, 24 * px, 3) > 1.55
    near = ndimage.gaussian_filter(tumor[::4, ::4].astype(np.float32), 25 * px / 4) > 0.08
    near = near.repeat(4, 0).repeat(4, 1)[:height, :width]
    labels[(labels == Tissue.STROMA) & buds & near] = Tissue.TUMOR


def _necrosis(rng: np.random.Generator, labels: NDArray[np.uint8], fraction: float, px: float) -> None:
    """Dead centres of the tumor, away from the vessels in the septa, in place."""
    tumor = labels == Tissue.TUMOR
    labels[_patches(rng, tumor, fraction, 60 * px)] = Tissue.NECROSIS
    septa = (labels == Tissue.STROMA) & _patches(rng, labels == Tissue.STROMA, fraction / 2, 60 * px)
    ring = ndimage.binary_dilation(labels == Tissue.NECROSIS, iterations=3)
    labels[septa & ring] = Tissue.NECROSIS


def _patches(rng: np.random.Generator, host: Region, fraction: float, scale: float) -> Region:
    """Ragged blobs that fill about a fraction of a host region."""
    height, width = host.shape
    if not host.any():
        return host
    field = fractal(rng, (height, width), scale, 4)
    level = np.quantile(field[host][::7], 1 - fraction)
    return np.asarray(host & (field > level))


def _eroded(region: Region, radius: float) -> Region:
    """The pixels of a region farther than ``radius`` pixels from its border."""
    half = np.asarray(ndimage.distance_transform_edt(region[::2, ::2])) * 2 > radius
    return np.asarray(half.repeat(2, 0).repeat(2, 1)[: region.shape[0], : region.shape[1]])


def _without_crumbs(labels: NDArray[np.uint8], area: float) -> NDArray[np.uint8]:
    """Pieces smaller than ``area`` pixels take the label of the nearest larger piece."""
    crumbs = np.zeros(labels.shape, dtype=bool)
    for tissue in np.unique(labels):
        pieces, count = ndimage.label(labels == tissue)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        sizes[0] = labels.size
        crumbs |= (sizes < area)[pieces]
    if not crumbs.any() or crumbs.all():
        return labels
    y, x = ndimage.distance_transform_edt(crumbs, return_distances=False, return_indices=True)
    return np.asarray(labels[y, x])
