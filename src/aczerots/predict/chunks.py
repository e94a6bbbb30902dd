"""Finished chunks of a label map: each a file of encoded tiles of all levels that lie in it."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aczerots.errors import StorageError
from aczerots.slides.windows import TIFF_TILE, Chunk
from aczerots.storage.files import write_bytes_atomic
from aczerots.taxonomy import IGNORE

_MAGIC = b"aczerots chunk 1\n"

_STRIP = 512
"""Rows that are worked on at once; even."""

Place = tuple[int, int, int]
"""(level, row, column) of a tile in the whole map."""


def halved(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The label that most of each 2 x 2 pixels have, the first of them where two are equally many.

    Args:
        labels: uint8 [h, w]; an odd last row or column counts twice.

    Returns:
        uint8 [ceil(h / 2), ceil(w / 2)].
    """
    h, w = labels.shape
    out = np.empty((-(-h // 2), -(-w // 2)), dtype=np.uint8)
    # In strips of whole pairs of rows: what is compared on the way takes several times the memory of the labels.
    for top in range(0, h, _STRIP):
        out[top // 2 : (top + _STRIP) // 2] = _halved(labels[top : top + _STRIP])
    return out


def _halved(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As :func:`halved`, at once."""
    h, w = labels.shape
    even = np.pad(labels, ((0, h % 2), (0, w % 2)), mode="edge")
    a, b, c, d = even[::2, ::2], even[::2, 1::2], even[1::2, ::2], even[1::2, 1::2]
    first = (a == b) | (a == c) | (a == d)
    return np.where(first, a, np.where((b == c) | (b == d), b, np.where(c == d, c, a)))


def count_labels(labels: NDArray[np.uint8], classes: int) -> list[int]:
    """Pixels of each class in labels uint8 [h, w]; others do not count."""
    total = np.zeros(256, dtype=np.int64)
    for top in range(0, len(labels), _STRIP):
        # numpy counts in eight bytes per pixel.
        total += np.bincount(labels[top : top + _STRIP].ravel(), minlength=256)
    return [int(n) for n in total[:classes]]


def encode(labels: NDArray[np.uint8]) -> bytes:
    """A tile uint8 [h, w] of at most TIFF_TILE a side as TIFF's deflate, padded with IGNORE."""
    h, w = labels.shape
    full = np.full((TIFF_TILE, TIFF_TILE), IGNORE, dtype=np.uint8)
    full[:h, :w] = labels
    return zlib.compress(full.tobytes(), 6)


def decode(data: bytes) -> NDArray[np.uint8]:
    """A tile uint8 [TIFF_TILE, TIFF_TILE]."""
    return np.frombuffer(zlib.decompress(data), dtype=np.uint8).reshape(TIFF_TILE, TIFF_TILE)


@dataclass(frozen=True)
class FinishedChunk:
    """A finished chunk.

    Attributes:
        counts: Map pixels of each class.
        tiles: Where each encoded tile lies in the file: (offset, bytes).
        path: The file.
    """

    counts: tuple[int, ...]
    tiles: Mapping[Place, tuple[int, int]]
    path: Path

    def tile(self, place: Place) -> bytes:
        """An encoded tile.

        Raises:
            StorageError: The file has gone.
        """
        offset, size = self.tiles[place]
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise StorageError(f"cannot be read ({error.strerror})", where=self.path) from error


def inner_levels(side: int) -> int:
    """Levels whose tiles lie wholly in a chunk of ``side`` map pixels, the first included."""
    return int(np.log2(side // TIFF_TILE)) + 1 if side & (side - 1) == 0 else 1


class ChunkFolder:
    """The finished chunks of one map.

    Args:
        folder: Where they lie.
        key: Of everything that decides the map; chunks with another key are not ours.
        side: Side of a chunk in map pixels.
    """

    def __init__(self, folder: Path, key: str, side: int) -> None:
        self.folder, self._key, self._side = folder, key, side

    def find(self, chunk: Chunk) -> FinishedChunk | None:
        """A finished chunk, None if it is not there, damaged, or of another map."""
        path = self._path(chunk)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"cannot be read ({error.strerror})", where=path) from error
        head, _, rest = data.removeprefix(_MAGIC).partition(b"\n")
        try:
            facts: dict[str, Any] = json.loads(head)
            if facts["key"] != self._key or facts["sha256"] != hashlib.sha256(rest).hexdigest():
                return None
            start = len(data) - len(rest)
            tiles = {(v, r, c): (start + at, n) for v, r, c, at, n in facts["tiles"]}
            return FinishedChunk(tuple(facts["counts"]), tiles, path)
        except (ValueError, KeyError, TypeError):
            return None

    def put(self, chunk: Chunk, labels: NDArray[np.uint8], classes: int) -> FinishedChunk:
        """Keep the labels uint8 [h, w] of a chunk.

        Raises:
            StorageError: It cannot be written.
        """
        counts = count_labels(labels, classes)
        places, parts, at = [], [], 0
        for place, part in _tiles(labels, chunk, inner_levels(self._side), self._side):
            places.append((*place, at, len(part)))
            parts.append(part)
            at += len(part)
        rest = b"".join(parts)
        facts = {"key": self._key, "sha256": hashlib.sha256(rest).hexdigest(), "counts": counts, "tiles": places}
        head = _MAGIC + json.dumps(facts).encode() + b"\n"
        write_bytes_atomic(self._path(chunk), head + rest)
        tiles = {(v, r, c): (len(head) + start, n) for v, r, c, start, n in places}
        return FinishedChunk(tuple(counts), tiles, self._path(chunk))

    def _path(self, chunk: Chunk) -> Path:
        return self.folder / f"{chunk.name}.chunk"


def _tiles(labels: NDArray[np.uint8], chunk: Chunk, levels: int, side: int) -> Iterator[tuple[Place, bytes]]:
    """Encoded tiles of a chunk, level by level in reading order."""
    for level in range(levels):
        across = max(1, side // TIFF_TILE >> level)
        for row in range(-(-labels.shape[0] // TIFF_TILE)):
            for column in range(-(-labels.shape[1] // TIFF_TILE)):
                y, x = row * TIFF_TILE, column * TIFF_TILE
                place = level, chunk.row * across + row, chunk.column * across + column
                yield place, encode(labels[y : y + TIFF_TILE, x : x + TIFF_TILE])
        labels = halved(labels)
