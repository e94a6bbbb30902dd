"""The fixed front end: named morphological measurements of H&E, per cell of 8 pixels.

Nothing here is learned. Optical density and stain proxies follow Ruifrok and Johnston (2001); bands are a
Laplacian pyramid (Burt and Adelson 1983); orientation is the structure tensor (Bigun 1987); blobs and ridges
are Hessian eigenvalues (Frangi 1998).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aczerots.backbones.embedded.stain import USUAL_OD, Stain, own_density, own_white, raw_density, scaled

CELL = 8
"""Pixels per measured cell, each way."""

WINDOWS = (3, 9, 21)
"""Widths in cells of the windows that measurements are averaged over (24, 72 and 168 pixels)."""

_LEVELS = 6
_EPS = 1e-4

_STAINS = ("haem", "eosin", "red", "white", "blue", "darkness", "brown")
_FINE = (
    *("nucleus", "black", "nucleus_haem", "nucleus_haem2", "nucleus_dark", "body", "body_haem", "body_eosin"),
    *("body_eosin2", "body_haem2", "haem15", "haem25", "haem40", "eosin8", "eosin18"),
)
_RING = ("nucleus_by_white", "nucleus_by_haem", "eosin_by_white")
_RATIO = (
    *("in_nucleus_haem", "in_nucleus_haem2", "in_nucleus_dark", "in_body_haem", "in_body_eosin"),
    *("in_body_eosin2", "in_body_haem2", "nuclear_size"),
)


def measurement_names() -> tuple[str, ...]:
    """Names of the measurements in the order of :func:`measure`, each with its window in pixels."""
    maps: list[str] = []
    for level in range(_LEVELS):
        kinds = ["pos", "neg"] + (["blob", "ridge"] if level < 5 else [])
        maps += [f"{kind}_{stain}_{level}" for kind in kinds for stain in ("haem", "eosin", "white")]
    names = [*maps, *_STAINS, *_FINE, *_RING, "count", *_RATIO]
    names += [f"spread_{name}" for name in _FINE[:6]]
    names += [f"coherence_{stain}_{level}" for level in range(4) for stain in ("haem", "eosin")]
    return tuple(f"{name}@{width * CELL}" for width in WINDOWS for name in names)


def _smooth(x: Tensor) -> Tensor:
    """5-tap binomial blur with mirrored edges; x is float [b, c, h, w]."""
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=x.dtype, device=x.device) / 16
    c = x.shape[1]
    x = F.conv2d(F.pad(x, (2, 2, 0, 0), mode="replicate"), taps.view(1, 1, 1, 5).expand(c, 1, 1, 5), groups=c)
    return F.conv2d(F.pad(x, (0, 0, 2, 2), mode="replicate"), taps.view(1, 1, 5, 1).expand(c, 1, 5, 1), groups=c)


def _box(x: Tensor, width: int) -> Tensor:
    """Mean over a square window of odd ``width`` cells, cut at the edges of the image."""
    half = width // 2
    if half == 0:
        return x
    x = F.avg_pool2d(x, (width, 1), 1, (half, 0), count_include_pad=False)
    return F.avg_pool2d(x, (1, width), 1, (0, half), count_include_pad=False)


def _to_cells(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Mean per cell, or bilinear where the map is coarser than the cells."""
    if x.shape[-1] > size[1] or x.shape[-2] > size[0]:
        k = max(round(x.shape[-1] / size[1]), 1)
        return F.avg_pool2d(x, k)
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def optical_density(images: Tensor, stain: Stain | None = None) -> Tensor:
    """Optical density with the scanner's white and part of the stain strength taken out.

    The white of an image is the 99th percentile of each channel, at least 0.75 of full scale, so that an image
    without glass is hardly changed. The mean density of its tissue is then drawn towards that of ordinary H&E with
    exponent 0.6 (1 would make every image alike and lose what a pure tile of one tissue says by its colour).

    Args:
        images: RGB uint8 [b, 3, h, w].
        stain: White and density that hold for all images; None measures both on each.

    Returns:
        Float32 [b, 3, h, w], base 10, not negative.
    """
    x = scaled(images)
    usual = torch.tensor(USUAL_OD, device=x.device).view(1, 3, 1, 1)
    if stain is not None:
        white, density = (torch.tensor(v, device=x.device)[None] for v in (stain.white, stain.density))
        return raw_density(x, white) * (usual / density[:, :, None, None]) ** 0.6
    od = raw_density(x, own_white(x))
    return od * (usual / own_density(od)) ** 0.6


def stains(images: Tensor, stain: Stain | None = None) -> Tensor:
    """Stain-like channels.

    Args:
        images: RGB uint8 [b, 3, h, w].
        stain: That of the slide; None measures each image by itself.

    Returns:
        Float32 [b, 7, h, w]: haematoxylin, eosin, red (blood), white, blue, darkness, brown.
    """
    od = optical_density(images, stain)
    r, g, b = od.unbind(1)
    mean = od.mean(1)
    red = F.relu(torch.minimum(g, b) - 1.3 * r)
    white = torch.sigmoid((0.11 - mean) / 0.02)
    blue, brown = F.relu(r - 0.75 * b), F.relu(b - g)
    return torch.stack([r * 1.4, g - 0.9 * r, red, white, blue, mean, brown], 1)


def _derivatives(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Central first and second differences (x, y, xx, yy, xy) of float [b, c, h, w]."""
    p = F.pad(x, (1, 1, 1, 1), mode="replicate")
    c = p[..., 1:-1, 1:-1]
    left, right = p[..., 1:-1, :-2], p[..., 1:-1, 2:]
    up, down = p[..., :-2, 1:-1], p[..., 2:, 1:-1]
    xy = (p[..., 2:, 2:] + p[..., :-2, :-2] - p[..., 2:, :-2] - p[..., :-2, 2:]) / 4
    return (right - left) / 2, (down - up) / 2, left + right - 2 * c, up + down - 2 * c, xy


def _shape(xx: Tensor, yy: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
    """(blob, ridge) strength of bright structures from Hessian eigenvalues."""
    root = torch.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    mid = (xx + yy) / 2
    blob = F.relu(-(mid + root))
    return blob, F.relu(-(mid - root)) - blob


def _nuclei(s: Tensor, low: Tensor) -> Tensor:
    """Nuclear and tissue maps at full resolution, float [b, 15, h, w]."""
    haem, eosin, white = s[:, 0], s[:, 1], s[:, 3]
    local = F.interpolate(low[:, :1], size=haem.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    nucleus = torch.sigmoid((haem - local - 0.10) / 0.04) * torch.sigmoid((haem - 0.30) / 0.06)
    dark = torch.sigmoid((haem - 0.55) / 0.08)
    body = (1 - nucleus) * (1 - white)
    maps = [nucleus, dark, nucleus * haem, nucleus * haem**2, nucleus * s[:, 5], body, body * haem, body * eosin]
    maps += [body * eosin**2, body * haem**2]
    maps += [torch.sigmoid((haem - t) / 0.04) for t in (0.15, 0.25, 0.40)]
    maps += [torch.sigmoid((eosin - t) / 0.03) for t in (0.08, 0.18)]
    return torch.stack(maps, 1)


def measure(images: Tensor, stain: Stain | None = None) -> Tensor:
    """Morphological measurements.

    Args:
        images: RGB uint8 [b, 3, h, w].
        stain: That of the slide; None measures each image by itself.

    Returns:
        Float32 [b, m, ceil(h / 8), ceil(w / 8)], raw (neither centred nor scaled).
    """
    h, w = images.shape[-2:]
    pad = (-h % CELL, -w % CELL)
    s = F.pad(stains(images, stain), (0, pad[1], 0, pad[0]), mode="replicate")
    size = (s.shape[-2] // CELL, s.shape[-1] // CELL)
    shw = s[:, [0, 1, 3]]
    tensors, maps, cur = [], [], shw
    lows = [cur]
    for level in range(_LEVELS):
        low = _smooth(cur)
        band = cur - low
        maps += [_to_cells(F.relu(band), size), _to_cells(F.relu(-band), size)]
        gx, gy, xx, yy, xy = _derivatives(low)
        if level < 4:
            tensors.append(torch.cat([_to_cells(t[:, :2], size) for t in (gx * gx, gy * gy, gx * gy)], 1))
        if level < 5:
            blob, ridge = _shape(xx, yy, xy)
            maps += [_to_cells(blob, size), _to_cells(ridge, size)]
        cur = F.avg_pool2d(low, 2) if min(low.shape[-2:]) > 1 else low
        lows.append(cur)
    fine = _nuclei(s, lows[4] if len(lows) > 4 else cur)
    near = F.interpolate(lows[3], size=s.shape[-2:], mode="bilinear", align_corners=False)
    ring = torch.stack([fine[:, 0] * near[:, 2], fine[:, 0] * near[:, 0], s[:, 1] * near[:, 2]], 1)
    peak = lows[1][:, :1]
    top = (peak == F.max_pool2d(peak, 5, 1, 2)) & (peak > 0.25)
    maps += [_to_cells(s, size), _to_cells(fine, size), _to_cells(ring, size), _to_cells(top.float(), size)]
    return _windows(torch.cat(maps, 1), tensors, size)


def _windows(maps: Tensor, tensors: list[Tensor], size: tuple[int, int]) -> Tensor:
    """Average over the windows and add what only makes sense after averaging (ratios, coherence)."""
    out = []
    n = maps.shape[1]
    fine = n - 15 - 3 - 1
    for width in WINDOWS:
        m = _box(maps, width)
        nuc, body = m[:, fine : fine + 1] + 0.01, m[:, fine + 5 : fine + 6] + 0.01
        ratios = [m[:, fine + i : fine + i + 1] / nuc for i in (2, 3, 4)]
        ratios += [m[:, fine + i : fine + i + 1] / body for i in (6, 7, 8, 9)]
        ratios += [nuc / (m[:, -1:] + 0.002)]
        out += [torch.sqrt(m.clamp_min(0) + _EPS), torch.cat(ratios, 1)]
        spread = _box(maps[:, fine : fine + 6] ** 2, width) - m[:, fine : fine + 6] ** 2
        out.append(torch.sqrt(spread.clamp_min(0) + _EPS))
        for t in tensors:
            jxx, jyy, jxy = _box(t, width).chunk(3, 1)
            energy = jxx + jyy
            out.append(torch.sqrt((jxx - jyy) ** 2 + 4 * jxy**2) / (energy + 1e-4))
    return torch.cat(out, 1)
