"""The grid cache: once per tile, whatever happens to the files."""

import errno
import json
import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from aczerots.backbones.base import BackboneInfo, Grids
from aczerots.backbones.cache import GridCache, embed_tiles
from aczerots.errors import SettingsError, StorageError
from aczerots.slides.base import Box, Tile


class GreySlide:
    """A slide of one grey value."""

    mpp = None
    size = (64, 64)

    def __init__(self, value: int) -> None:
        self.id = self.fingerprint = f"grey{value}"
        self.value = value

    def read(self, box: Box, size: tuple[int, int]) -> np.ndarray:
        return np.full((size[1], size[0], 3), self.value, np.uint8)


class CountingBackbone:
    """Embeds the mean colour and counts the images it saw."""

    def __init__(self, revision: str = "1") -> None:
        self.info = BackboneInfo("counting", revision, "value", 3, 2, 8, 10.0)
        self.images = 0

    def encode_image(self, images: torch.Tensor) -> Grids:
        self.images += len(images)
        mean = images.float().mean(dim=(2, 3), keepdim=True).expand(-1, -1, 4, 4) + 1
        return Grids(
            torch.nn.functional.normalize(mean / torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1), dim=1),
            mean[:, :2] * 1e5,
        )

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        return torch.ones(len(sentences), 3) / 3**0.5

    def to(self, device: object) -> "CountingBackbone":
        return self


SLIDES = {f"grey{v}": GreySlide(v) for v in range(40)}
TILES = [Tile(s, Box(0, 0, 32, 32), Box(0, 0, 32, 32), 32) for s in SLIDES]


def test_the_backbone_runs_once_per_tile_and_the_numbers_stay(tmp_path: Path):
    backbone = CountingBackbone()
    cold = embed_tiles(TILES[:30], SLIDES, backbone, GridCache(tmp_path, backbone))
    assert backbone.images == 30
    warm = embed_tiles(TILES, SLIDES, backbone, GridCache(tmp_path, backbone))
    assert backbone.images == 40
    embed_tiles(TILES[::-1], SLIDES, backbone, GridCache(tmp_path, backbone))
    assert backbone.images == 40
    none = embed_tiles(TILES, SLIDES, backbone, None)
    for store in (warm, none):
        np.testing.assert_array_equal(store.aligned[:30], cold.aligned)
        np.testing.assert_array_equal(store.layers[:30], cold.layers)
    assert np.isfinite(cold.layers).all()
    assert warm.index(TILES[7].id) == 7
    norms = warm[[3, 5]].aligned.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_another_revision_does_not_share_the_cache(tmp_path: Path):
    first, second = CountingBackbone("1"), CountingBackbone("2")
    embed_tiles(TILES[:3], SLIDES, first, GridCache(tmp_path, first))
    embed_tiles(TILES[:3], SLIDES, second, GridCache(tmp_path, second))
    assert second.images == 3


def test_equal_tiles_are_computed_once():
    twins = [TILES[0], Tile("grey0", Box(32, 0, 32, 32), TILES[0].window, 32)]
    backbone = CountingBackbone()
    store = embed_tiles(twins, SLIDES, backbone, None)
    assert backbone.images == 1
    np.testing.assert_array_equal(store.aligned[0], store.aligned[1])


@pytest.mark.parametrize("harm", ["truncate", "flip", "remove"])
def test_a_damaged_shard_is_found_and_redone(tmp_path: Path, harm: str):
    backbone = CountingBackbone()
    sound = embed_tiles(TILES, SLIDES, backbone, GridCache(tmp_path, backbone))
    victim = max((p for p in tmp_path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(victim.read_bytes())
    if harm == "truncate":
        victim.write_bytes(data[: len(data) // 2])
    elif harm == "flip":
        data[100] ^= 0xFF
        victim.write_bytes(data)
    else:
        next(tmp_path.rglob("zarr.json")).unlink()
    cache = GridCache(tmp_path, backbone)
    again = embed_tiles(TILES, SLIDES, backbone, cache)
    assert cache.dropped == 1
    assert backbone.images == 80
    np.testing.assert_array_equal(again.layers, sound.layers)


def test_a_writer_that_was_killed_leaves_nothing_that_counts(tmp_path: Path):
    backbone = CountingBackbone()
    cache = GridCache(tmp_path, backbone)
    (cache.folder / "writing-0.zarr").mkdir(parents=True)
    embed_tiles(TILES[:2], SLIDES, backbone, cache)
    assert backbone.images == 2
    assert cache.dropped == 0


def fill(folder: Path, part: slice) -> None:
    backbone = CountingBackbone()
    embed_tiles(TILES[part], SLIDES, backbone, GridCache(folder, backbone))


def test_several_processes_may_fill_it(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=fill, args=(tmp_path, part)) for part in (slice(0, 30), slice(10, 40))]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert [w.exitcode for w in workers] == [0, 0]
    backbone = CountingBackbone()
    embed_tiles(TILES, SLIDES, backbone, GridCache(tmp_path, backbone))
    assert backbone.images == 0


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    backbone = CountingBackbone()
    with pytest.raises(StorageError, match="ACZEROTS_CACHE"):
        embed_tiles(TILES[:2], SLIDES, backbone, GridCache(tmp_path / "file", backbone))


def test_progress_counts_every_tile(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    backbone = CountingBackbone()
    embed_tiles(TILES[:20], SLIDES, backbone, None, progress=lambda i, n: seen.append((i, n)))
    assert seen == [(8, 20), (16, 20), (20, 20)]


def test_progress_is_told_of_cached_tiles(tmp_path: Path):
    backbone = CountingBackbone()
    embed_tiles(TILES[:12], SLIDES, backbone, GridCache(tmp_path, backbone))
    seen: list[tuple[int, int]] = []
    cache = GridCache(tmp_path, backbone)
    embed_tiles(TILES[:20], SLIDES, backbone, cache, progress=lambda i, n: seen.append((i, n)))
    assert seen == [(12, 20), (20, 20)]


@pytest.mark.parametrize("name", ["aligned", "layers"])
def test_a_shard_without_its_data_is_not_read_as_zeros(tmp_path: Path, name: str):
    backbone = CountingBackbone()
    sound = embed_tiles(TILES, SLIDES, backbone, GridCache(tmp_path, backbone))
    next(p for p in tmp_path.rglob("*") if p.is_file() and f"/{name}/c/" in p.as_posix()).unlink()
    cache = GridCache(tmp_path, backbone)
    again = embed_tiles(TILES, SLIDES, backbone, cache)
    assert (cache.dropped, backbone.images) == (1, 80)
    np.testing.assert_array_equal(again.aligned, sound.aligned)
    np.testing.assert_array_equal(again.layers, sound.layers)


@pytest.mark.parametrize("keys", [None, 7, ["more", "keys", "than", "rows"]])
def test_a_shard_with_a_wrong_list_of_tiles_is_redone(tmp_path: Path, keys: object):
    backbone = CountingBackbone()
    embed_tiles(TILES[:2], SLIDES, backbone, GridCache(tmp_path, backbone))
    path = next(p for p in tmp_path.rglob("zarr.json") if "keys" in p.read_text())
    facts = json.loads(path.read_text())
    stored = facts["attributes"]["keys"]
    facts["attributes"]["keys"] = keys + stored if isinstance(keys, list) else keys
    path.write_text(json.dumps(facts))
    cache = GridCache(tmp_path, backbone)
    embed_tiles(TILES[:2], SLIDES, backbone, cache)
    assert (cache.dropped, backbone.images) == (1, 4)


class Interrupted(CountingBackbone):
    """Ctrl-C after 16 images."""

    def encode_image(self, images: torch.Tensor) -> Grids:
        if self.images == 16:
            raise KeyboardInterrupt
        return super().encode_image(images)


def test_an_interrupt_does_not_cost_the_finished_tiles(tmp_path: Path):
    first, second = Interrupted(), CountingBackbone()
    with pytest.raises(KeyboardInterrupt):
        embed_tiles(TILES, SLIDES, first, GridCache(tmp_path, first))
    embed_tiles(TILES, SLIDES, second, GridCache(tmp_path, second))
    assert second.images == len(TILES) - 16


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO])
def test_a_shard_that_cannot_be_opened_now_is_kept(tmp_path: Path, monkeypatch, number: int):
    backbone = CountingBackbone()
    embed_tiles(TILES, SLIDES, backbone, GridCache(tmp_path, backbone))

    def refuse(*args: object, **kwargs: object) -> object:
        raise OSError(number, "not now")

    with monkeypatch.context() as patch:
        patch.setattr("zarr.open_group", refuse)
        with pytest.raises(StorageError, match="cannot read the cache: not now"):
            embed_tiles(TILES, SLIDES, backbone, GridCache(tmp_path, backbone))
    embed_tiles(TILES, SLIDES, backbone, GridCache(tmp_path, backbone))
    assert backbone.images == len(TILES)


def test_tiles_of_different_sizes_are_one_clear_error():
    other = Tile("grey1", Box(0, 0, 64, 64), Box(0, 0, 64, 64), 64)
    with pytest.raises(SettingsError, match="different sizes"):
        embed_tiles([TILES[0], other], SLIDES, CountingBackbone(), None)


def test_the_cache_of_another_backbone_is_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="another backbone"):
        embed_tiles(TILES[:2], SLIDES, CountingBackbone("2"), GridCache(tmp_path, CountingBackbone("1")))
