"""Masks as they stand in databases: PNG of label ids."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from aczerots.errors import StorageError


def encode_mask(mask: NDArray[np.uint8]) -> bytes:
    """PNG of label ids uint8 [h, w]."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


def decode_mask(data: bytes) -> NDArray[np.uint8]:
    """Label ids uint8 [h, w] of a PNG made by :func:`encode_mask`.

    Raises:
        StorageError: The bytes are damaged.
    """
    try:
        return np.array(Image.open(io.BytesIO(data)), dtype=np.uint8)
    except (OSError, UnidentifiedImageError) as error:
        raise StorageError("a stored mask is damaged", fix="Restore the database from a backup") from error
