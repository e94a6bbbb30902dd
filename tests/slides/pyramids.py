"""Whole slides made for the tests: smooth pictures whose value is known at every point, written as pyramids."""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray


def waves(width: int, height: int) -> NDArray[np.uint8]:
    """A smooth picture: three plane waves of 150 to 250 pixels, sampled at pixel centres, RGB uint8 [h, w, 3]."""
    x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    phases = (2 * np.pi * (x / 200 + 0 * y), 2 * np.pi * (y / 150 + 0 * x), 2 * np.pi * (x + y) / 250)
    return np.rint(127.5 + 100 * np.sin(np.stack(phases, axis=-1))).astype(np.uint8)


def reduced(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Means of blocks, the incomplete ones at the right and lower edge dropped, as scanners do."""
    h, w = pixels.shape[0] // factor, pixels.shape[1] // factor
    blocks = pixels[: h * factor, : w * factor].reshape(h, factor, w, factor, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def write_svs(
    path: Path,
    pixels: NDArray[np.uint8],
    factors: tuple[int, ...] = (4, 16),
    mpp: float | None = 0.5,
    compression: str | None = "deflate",
) -> Path:
    """A pyramid as Aperio scanners write it: one directory per level, resolution in the description."""
    height, width = pixels.shape[:2]
    facts = "" if mpp is None else f"|AppMag = 20|MPP = {mpp}"
    text = f"Aperio Image Library v11.2.1\n{width}x{height} (256x256) none{facts}"
    options = {"tile": (256, 256), "photometric": "rgb", "compression": compression, "metadata": None}
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, description=text, **options)
        for factor in factors:
            small = reduced(pixels, factor)
            file.write(small, description=f"{text} -> {small.shape[1]}x{small.shape[0]}", **options)
    return path


def write_ome(
    path: Path,
    pixels: NDArray[np.uint8],
    factors: tuple[int, ...] = (4, 16),
    mpp: float | None = 0.5,
    *,
    planar: bool = False,
    strips: bool = False,
) -> Path:
    """An OME-TIFF with its levels in sub-directories."""
    size = {} if mpp is None else {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
    options = {"photometric": "rgb", "compression": "deflate"} | ({} if strips else {"tile": (128, 128)})
    if planar:
        options |= {"planarconfig": "separate"}

    def ordered(a: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.moveaxis(a, -1, 0) if planar else a

    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(
            ordered(pixels), subifds=len(factors), metadata={"axes": "SYX" if planar else "YXS", **size}, **options
        )
        for factor in factors:
            file.write(ordered(reduced(pixels, factor)), subfiletype=1, **options)
    return path
