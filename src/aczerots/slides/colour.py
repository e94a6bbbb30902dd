"""Colours of images that carry a colour profile."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

_FAR = 3
"""Levels of 255 by which a profile must change a colour to be applied."""


def in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An image in sRGB, the colours that backbones know; a profile that is broken or changes nothing is passed over.

    Args:
        image: Decoded, without transparency.
        profile: ICC profile of the file, None without.

    Returns:
        Mode RGB.
    """
    plain = image.convert("RGB")
    if not profile:
        return plain
    source = image if image.mode in {"L", "CMYK"} else plain
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), source.mode, "RGB"
        )
        probe = _probe(source.mode)
        shown = ImageCms.applyTransform(probe, transform)
        if shown is None or _distance(shown, probe.convert("RGB")) <= _FAR:
            return plain
        return ImageCms.applyTransform(source, transform) or plain
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return plain


def _probe(mode: str) -> Image.Image:
    """Colours all over the range of a mode."""
    levels = np.linspace(0, 255, 6).astype(np.uint8)
    axes = np.meshgrid(*[levels] * Image.getmodebands(mode), indexing="ij")
    pixels = np.stack([a.ravel() for a in axes], axis=-1)
    return Image.frombytes(mode, (len(pixels), 1), pixels.tobytes())


def _distance(a: Image.Image, b: Image.Image) -> int:
    """Largest difference of two RGB images in a channel."""
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b).astype(int)).max())
