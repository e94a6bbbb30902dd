"""From amounts of stain to the pixels of a scanner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from aczerots.datasets.phantom.fields import Field, noise

# Unit optical densities (R, G, B). Ruifrok & Johnston 2001, Anal Quant Cytol Histol 23:291 give the first of
# each pair; the second is typical of the slide-wise estimates after Macenko et al. 2009 (ISBI). Real slides
# lie between.
_HEMATOXYLIN = np.array([[0.65, 0.70, 0.29], [0.56, 0.72, 0.41]])
_EOSIN = np.array([[0.09, 0.95, 0.28], [0.22, 0.83, 0.51]])
_HEMOGLOBIN = np.array([0.16, 0.76, 0.63])

_UNIT_DENSITY = 0.62
"""Decadic optical density of an amount of 1, about that of a lymphocyte nucleus in a 4 um section."""


@dataclass(frozen=True)
class Stains:
    """Amounts of stain along the light path, float [h, w]; 1 is about what a lymphocyte nucleus takes up.

    Hemoglobin is the colour that red cells have without a stain.
    """

    hematoxylin: Field
    eosin: Field
    hemoglobin: Field


def scan(rng: np.random.Generator, stains: Stains) -> NDArray[np.uint8]:
    """RGB uint8 [h, w, 3] as a scanner shows it: staining batch, section thickness, optics, sensor, compression."""
    shape = stains.hematoxylin.shape
    vectors = _stain_vectors(rng)
    thickness = 1 + 0.05 * noise(rng, (shape[0], shape[1]), 150)
    amounts = (
        stains.hematoxylin * rng.uniform(0.8, 1.2) * thickness,
        stains.eosin * rng.uniform(0.75, 1.25) * thickness,
        stains.hemoglobin * rng.uniform(0.8, 1.15),
    )
    density = sum(a[..., None] * v for a, v in zip(amounts, vectors, strict=True))
    # Beer-Lambert: transmitted light is 10^-density in the decadic units of Ruifrok & Johnston.
    light = np.exp(np.float32(-np.log(10) * _UNIT_DENSITY) * np.asarray(density, dtype=np.float32))
    sigma = rng.uniform(0.55, 0.95)
    light = ndimage.gaussian_filter(light, (sigma, sigma, 0), truncate=2.5)
    return _sensor(rng, light)


def _stain_vectors(rng: np.random.Generator) -> NDArray[np.float32]:
    """Unit stain vectors [3 stains, 3 channels] of one staining batch."""
    a, b = rng.uniform(0, 1, 2)
    mixed = _HEMATOXYLIN[0] * (1 - a) + _HEMATOXYLIN[1] * a, _EOSIN[0] * (1 - b) + _EOSIN[1] * b
    vectors = np.stack([*mixed, _HEMOGLOBIN])
    vectors = np.clip(vectors + rng.normal(0, 0.02, vectors.shape), 0.02, None)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def _sensor(rng: np.random.Generator, light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """White balance, tone curve, vignetting-free noise and mild compression: uint8 [h, w, 3]."""
    white = np.float32(rng.uniform(0.92, 0.985)) * (1 + rng.normal(0, 0.012, 3).astype(np.float32))
    gamma = np.float32(rng.uniform(0.9, 1.12))
    image = np.clip(light, 0, 1) ** gamma * white
    height, width = light.shape[:2]
    grain = noise(rng, (height, width), 1)[..., None] * np.array([1, 0.9, 1.1], dtype=np.float32)
    image = image + grain * np.float32(rng.uniform(0.004, 0.011))
    image = _compressed(image, np.float32(rng.uniform(0.006, 0.02)))
    return np.asarray(np.clip(np.rint(image * 255), 0, 255), dtype=np.uint8)


def _compressed(image: NDArray[np.float32], step: np.float32) -> NDArray[np.float32]:
    """Rounding of 8 x 8 cosine coefficients, coarser for high frequencies and colour, as JPEG does."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 8), (0, -width % 8), (0, 0)), mode="edge")
    luma = padded @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    planes = np.stack([luma, padded[..., 0] - luma, padded[..., 2] - luma])
    blocks = planes.reshape(3, planes.shape[1] // 8, 8, planes.shape[2] // 8, 8)
    frequency = np.add.outer(np.arange(8), np.arange(8)).astype(np.float32)
    steps = step * (1 + 0.6 * frequency)[None, None, :, None, :]
    steps = steps * np.array([1, 1.8, 1.8], dtype=np.float32)[:, None, None, None, None]
    coefficients = fft.dctn(blocks, axes=(2, 4), norm="ortho")
    blocks = fft.idctn(np.rint(coefficients / steps) * steps, axes=(2, 4), norm="ortho")
    y, r, b = blocks.reshape(planes.shape)[:, :height, :width]
    red, blue = y + r, y + b
    green = (y - 0.299 * red - 0.114 * blue) / np.float32(0.587)
    return np.stack([red, green, blue], axis=-1)
