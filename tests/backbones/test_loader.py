"""Tiles through a backbone in batches: order, errors, memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from aczerots.backbones.base import BackboneInfo, DenseFeatures
from aczerots.backbones.loader import AHEAD, CPU_BATCH, batch_size, embed_ahead, read_ahead
from aczerots.errors import InputError, SettingsError
from aczerots.slides.base import Box, Tile

INFO = BackboneInfo("fake", "1", "value", 3, 2, 8, 10.0)


class Grey:
    """A slide of one grey; notes that it was read."""

    mpp = None
    size = (16, 16)

    def __init__(self, value: int, log: list[int]) -> None:
        self.id = self.fingerprint = str(value)
        self.value, self.log = value, log

    def read(self, box: Box, size: tuple[int, int]) -> np.ndarray:
        if self.value == 13:
            raise InputError("cannot be read", where=self.id)
        self.log.append(self.value)
        return np.full((size[1], size[0], 3), self.value, np.uint8)


class SmallDevice:
    """Has the memory for so many images and no more."""

    device = torch.device("cpu")
    info = INFO

    def __init__(self, room: int) -> None:
        self.room = room
        self.batches: list[int] = []

    def encode_image(self, images: torch.Tensor) -> DenseFeatures:
        if len(images) > self.room:
            raise torch.OutOfMemoryError("too many")
        self.batches.append(len(images))
        grey = images[:, :, :2, :2].float()
        return DenseFeatures(grey, grey[:, :2] * 1e5)

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        raise NotImplementedError

    def to(self, device: object) -> SmallDevice:
        return self


def slides_of(values: Sequence[int]) -> tuple[dict[str, Grey], list[int]]:
    log: list[int] = []
    return {str(v): Grey(v, log) for v in values}, log


def tiles_of(values: Sequence[int]) -> list[Tile]:
    return [Tile(str(v), Box(0, 0, 16, 16), Box(0, 0, 16, 16), 16) for v in values]


def test_batches_come_in_order_and_only_a_few_are_read_ahead():
    slides, log = slides_of(range(12))
    batches = [tiles_of([v, v + 1]) for v in range(0, 12, 2)]
    with closing(read_ahead(batches, slides)) as pixels:
        first = next(pixels)
        assert first.shape == (2, 3, 16, 16)
        assert first[:, 0, 0, 0].tolist() == [0, 1]
    assert len(log) <= 2 * (AHEAD + 1)
    greys = [int(p[0, 0, 0, 0]) for p in read_ahead(batches, slides)]
    assert greys == [0, 2, 4, 6, 8, 10]
    assert not [t for t in threading.enumerate() if t.name.startswith("read tiles")]


def test_an_unreadable_slide_fails_in_its_turn():
    slides, _ = slides_of([1, 2, 13, 4])
    pixels = read_ahead([tiles_of([v]) for v in (1, 2, 13, 4)], slides)
    assert [int(next(pixels)[0, 0, 0, 0]) for _ in range(2)] == [1, 2]
    with pytest.raises(InputError, match="13: cannot be read"):
        next(pixels)


def test_a_batch_that_is_too_large_is_split():
    slides, _ = slides_of(range(1, 7))
    device = SmallDevice(room=2)
    (pair,) = embed_ahead([tiles_of(range(1, 7))], slides, device, None)
    assert device.batches == [2, 1, 2, 1]
    assert pair[0].dtype == np.float16
    assert pair[0][:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert pair[1].max() == np.finfo(np.float16).max  # clipped, not infinite


def test_no_room_for_one_tile_is_one_clear_error():
    slides, _ = slides_of([1])
    with pytest.raises(SettingsError, match="not the memory for a tile of 16 pixels"):
        list(embed_ahead([tiles_of([1])], slides, SmallDevice(room=0), None))


def test_batch_follows_tokens_and_memory(monkeypatch):
    assert batch_size(INFO, 224, torch.device("cpu")) == CPU_BATCH
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (80 * 2**30, 80 * 2**30))
    large = replace(INFO, layer_dim=1024, stride=14)
    sizes = [batch_size(large, side, torch.device("cuda")) for side in (224, 448, 1024, 2048)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 64
    assert 1 <= sizes[-1] < 5
