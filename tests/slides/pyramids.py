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


def write_scn(
    path: Path, pixels: NDArray[np.uint8], offset: tuple[int, int], whole: tuple[int, int], mpp: float = 0.5
) -> Path:
    """A Leica slide of which only a part was scanned: ``pixels`` at ``offset`` (x, y) in a frame of size ``whole``."""
    nm, (height, width) = round(1000 * mpp), pixels.shape[:2]
    place = {"sizeX": width * nm, "sizeY": height * nm, "offsetX": offset[0] * nm, "offsetY": offset[1] * nm}
    view = " ".join(f'{name}="{value}"' for name, value in place.items())
    text = (
        '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="c" uuid="u" sizeX="{whole[0] * nm}" sizeY="{whole[1] * nm}"><barcode/>'
        '<image name="i" uuid="v"><creationDate>2020-01-01T00:00:00Z</creationDate><device model="m" version="1"/>'
        f'<pixels sizeX="{width}" sizeY="{height}"><dimension sizeX="{width}" sizeY="{height}" r="0" ifd="0"/></pixels>'
        f'<view {view} spacingZ="0"/><scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>'
        "<illuminationSettings><numericalAperture>0.75</numericalAperture>"
        "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
        "</collection></scn>"
    )
    facts = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(pixels, tile=(256, 256), photometric="rgb", compression="jpeg", description=text, **facts)
    return path
