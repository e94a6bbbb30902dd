"""Runs tiles through a backbone in batches; while it computes, the next are read and the last are copied."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F

from aczerots.backbones.base import Backbone, BackboneInfo, DenseFeatures
from aczerots.backbones.storage import Half
from aczerots.errors import SettingsError
from aczerots.slides.base import Slide, Tile

Pair = tuple[Half, Half]

AHEAD = 2
"""Batches that are read before they are asked for."""

CPU_BATCH = 8
"""Tiles per forward pass on a CPU: more do not make a core faster, and cost memory."""

_LARGEST = 64
_FRACTION = 0.4
"""Of the free memory of an accelerator that a batch may take by the estimate."""


def batch_size(info: BackboneInfo, tile_size: int, device: torch.device) -> int:
    """Tiles per forward pass that should fit a device; :func:`embed_ahead` splits a batch that does not.

    Per token a transformer of 24 blocks keeps 24 states and at its widest some 16 vectors more of d_v numbers in
    float32; per tile come the attention of 16 heads and the pixels three times.

    Args:
        info: Facts about the backbone.
        tile_size: Side of a tile in pixels.
        device: Where it computes.

    Returns:
        1 to 64.
    """
    if device.type == "cpu":
        return CPU_BATCH
    tokens = (tile_size / info.stride) ** 2
    need = 4 * (40 * info.layer_dim * tokens + 16 * tokens**2 + 9 * tile_size**2)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 4 * 2**30
    return int(max(1, min(_LARGEST, _FRACTION * free / need)))


def embed_ahead(
    batches: Iterable[Sequence[Tile]], slides: Mapping[str, Slide], backbone: Backbone, cells: int | None
) -> Generator[Pair]:
    """Dense features of batches of tiles. Close the iterator if it is not used up.

    A thread reads the next batches meanwhile. An accelerator has the next batch to compute before the results of
    the last are taken from it.

    Args:
        batches: Tiles of each batch, all of one size.
        slides: Slides by id.
        backbone: Computes on its own device.
        cells: Average features over regions, at most this many each way; None leaves them.

    Yields:
        (aligned, layers) of each batch, float16 [b, d, gh, gw] and [b, d_v, gh, gw].

    Raises:
        InputError: A slide cannot be read.
        SettingsError: The device has not the memory for one tile.
    """
    pending: deque[_PendingBatch] = deque()
    depth = 0 if backbone.device.type == "cpu" else 1
    with closing(read_ahead(batches, slides)) as pixels:
        for images in pixels:
            pending.append(_PendingBatch(images, backbone, cells))
            if len(pending) > depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def read_ahead(batches: Iterable[Sequence[Tile]], slides: Mapping[str, Slide]) -> Generator[torch.Tensor]:
    """Pixels of batches in order, RGB uint8 [b, 3, size, size], read by a thread up to ``AHEAD`` batches ahead.

    A slide that cannot be read raises its InputError when the turn of its batch comes.
    """
    todo = iter(batches)
    waiting: deque[Future[torch.Tensor]] = deque()
    with ThreadPoolExecutor(1, "read tiles") as reader:
        try:
            waiting.extend(reader.submit(read_tiles, b, slides) for b in islice(todo, AHEAD))
            while waiting:
                pixels = waiting.popleft().result()
                waiting.extend(reader.submit(read_tiles, b, slides) for b in islice(todo, 1))
                yield pixels
        finally:
            for future in waiting:
                future.cancel()


def read_tiles(tiles: Sequence[Tile], slides: Mapping[str, Slide]) -> torch.Tensor:
    """Pixels of tiles of one size, RGB uint8 [b, 3, size, size]."""
    pixels = np.stack([slides[t.slide].read(t.window, (t.size, t.size)) for t in tiles])
    return torch.from_numpy(pixels).movedim(-1, 1).contiguous()


class _PendingBatch:
    """A batch that a device computes; its results are on their way back to the CPU."""

    def __init__(self, images: torch.Tensor, backbone: Backbone, cells: int | None) -> None:
        device = backbone.device
        on_gpu = device.type == "cuda"
        if on_gpu:
            images = images.pin_memory().to(device, non_blocking=True)
        features = _encode(images.to(device), backbone)
        halves = [_stored(t, cells) for t in (features.aligned, features.layers)]
        self._results = [t.to("cpu", non_blocking=on_gpu) for t in halves]
        self._done = torch.cuda.current_stream(device).record_event() if on_gpu else None

    def result(self) -> Pair:
        """Wait for (aligned, layers), float16."""
        if self._done is not None:
            self._done.synchronize()
        aligned, layers = (t.numpy() for t in self._results)
        return aligned, layers


@torch.no_grad()
def _encode(images: torch.Tensor, backbone: Backbone) -> DenseFeatures:
    """Dense features of a batch; split in halves as long as the device has not the memory."""
    try:
        return backbone.encode_image(images)
    except torch.OutOfMemoryError as error:
        if len(images) == 1:
            what = f"{images.device} has not the memory for a tile of {images.shape[-1]} pixels"
            raise SettingsError(what, where="--device", fix="Use --device cpu or a smaller --tile-size") from error
    if images.device.type != "cpu":
        torch.accelerator.empty_cache()
    parts = [_encode(part, backbone) for part in images.chunk(2)]
    return DenseFeatures(torch.cat([p.aligned for p in parts]), torch.cat([p.layers for p in parts]))


def _stored(x: torch.Tensor, cells: int | None) -> torch.Tensor:
    """Features [b, d, gh, gw] averaged to at most ``cells`` each way, float16; what float16 cannot hold is clipped."""
    if cells is not None:
        x = F.adaptive_avg_pool2d(x, (min(cells, x.shape[2]), min(cells, x.shape[3])))
    limit = float(torch.finfo(torch.float16).max)
    return x.clamp(-limit, limit).half()
