"""The cache of dense features: once per tile, whatever happens to the files."""

import errno
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from aczerots.backbones.base import BackboneInfo, DenseFeatures
from aczerots.backbones.cache import FeatureStore, FillPlan, Report
from aczerots.backbones.storage import FeatureCache, Shard, bytes_per_tile
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

    device = torch.device("cpu")

    def __init__(self, revision: str = "1") -> None:
        self.info = BackboneInfo("counting", revision, "value", 3, 2, 8, 10.0)
        self.images = 0

    def encode_image(self, images: torch.Tensor) -> DenseFeatures:
        self.images += len(images)
        mean = images.float().mean(dim=(2, 3), keepdim=True).expand(-1, -1, 4, 4) + 1
        return DenseFeatures(
            torch.nn.functional.normalize(mean / torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1), dim=1),
            mean[:, :2] * 1e5,
        )

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        return torch.ones(len(sentences), 3) / 3**0.5

    def to(self, device: object) -> "CountingBackbone":
        return self


class Ramp(CountingBackbone):
    """Layer tokens count the columns."""

    def encode_image(self, images: torch.Tensor) -> DenseFeatures:
        features = super().encode_image(images)
        return DenseFeatures(features.aligned, torch.arange(4.0).expand(len(images), 2, 4, 4))


SLIDES = {f"grey{v}": GreySlide(v) for v in range(40)}
TILES = [Tile(s, Box(0, 0, 32, 32), Box(0, 0, 32, 32), 32) for s in SLIDES]


def filled(
    tiles: Sequence[Tile],
    slides: dict[str, GreySlide],
    backbone: CountingBackbone,
    cache: FeatureCache | None,
    progress: Report | None = None,
) -> FeatureStore:
    store = FeatureStore(tiles, slides, backbone, cache)
    store.fill(progress=progress)
    return store


def everything(store: FeatureStore) -> DenseFeatures:
    return store[list(range(len(store)))]


def assert_same(one: DenseFeatures, other: DenseFeatures) -> None:
    assert torch.equal(one.aligned, other.aligned)
    assert torch.equal(one.layers, other.layers)


def test_the_backbone_runs_once_per_tile_and_the_numbers_stay(tmp_path: Path):
    backbone = CountingBackbone()
    cold = filled(TILES[:30], SLIDES, backbone, FeatureCache(tmp_path, backbone.info))
    assert backbone.images == 30
    warm = filled(TILES, SLIDES, backbone, FeatureCache(tmp_path, backbone.info))
    assert backbone.images == 40
    filled(TILES[::-1], SLIDES, backbone, FeatureCache(tmp_path, backbone.info))
    assert backbone.images == 40
    none = filled(TILES, SLIDES, backbone, None)
    expected = everything(cold)
    for store in (warm, none):
        assert_same(store[list(range(30))], expected)
    assert torch.isfinite(expected.layers).all()
    assert len(warm) == 40
    norms = warm[[3, 5]].aligned.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_features_have_one_layout_in_memory_wherever_they_come_from(tmp_path: Path):
    """Sums over another order of memory differ in the last digits, and a run would not go on with equal numbers."""

    class ChannelsLast(CountingBackbone):
        def encode_image(self, images: torch.Tensor) -> DenseFeatures:
            features = super().encode_image(images)
            last = (g.contiguous(memory_format=torch.channels_last) for g in (features.aligned, features.layers))
            return DenseFeatures(*last)

    backbone = ChannelsLast()
    for cache in (None, FeatureCache(tmp_path, backbone.info), FeatureCache(tmp_path, backbone.info)):
        for row in (features := everything(filled(TILES[:20], SLIDES, backbone, cache))).aligned, features.layers:
            assert row.is_contiguous()
    assert backbone.images == 40


def test_another_revision_does_not_share_the_cache(tmp_path: Path):
    first, second = CountingBackbone("1"), CountingBackbone("2")
    filled(TILES[:3], SLIDES, first, FeatureCache(tmp_path, first.info))
    filled(TILES[:3], SLIDES, second, FeatureCache(tmp_path, second.info))
    assert second.images == 3


def test_equal_tiles_are_computed_once():
    twins = [TILES[0], Tile("grey0", Box(32, 0, 32, 32), TILES[0].window, 32)]
    backbone = CountingBackbone()
    store = filled(twins, SLIDES, backbone, None)
    assert backbone.images == 1
    assert_same(store[[0]], store[[1]])


@pytest.mark.parametrize("harm", ["truncate", "flip", "remove"])
def test_a_damaged_shard_is_found_and_redone(tmp_path: Path, harm: str):
    backbone = CountingBackbone()
    sound = everything(filled(TILES, SLIDES, backbone, FeatureCache(tmp_path, backbone.info)))
    victim = max((p for p in tmp_path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(victim.read_bytes())
    if harm == "truncate":
        victim.write_bytes(data[: len(data) // 2])
    elif harm == "flip":
        data[100] ^= 0xFF
        victim.write_bytes(data)
    else:
        next(tmp_path.rglob("zarr.json")).unlink()
    cache = FeatureCache(tmp_path, backbone.info)
    again = everything(filled(TILES, SLIDES, backbone, cache))
    assert cache.dropped == 1
    assert backbone.images == 80
    assert_same(again, sound)
    assert_same(everything(filled(TILES, SLIDES, backbone, cache)), sound)
    assert backbone.images == 80


def test_a_writer_that_was_killed_leaves_nothing_that_counts(tmp_path: Path):
    backbone = CountingBackbone()
    cache = FeatureCache(tmp_path, backbone.info)
    young, old = (cache.folder / f"writing-{name}.zarr" for name in ("young", "old"))
    for path in (young, old):
        path.mkdir(parents=True)
    os.utime(old, (time.time() - 25 * 3600,) * 2)
    filled(TILES[:2], SLIDES, backbone, cache)
    assert backbone.images == 2
    assert cache.dropped == 0
    assert young.exists()
    assert not old.exists()


def bounded(folder: Path, tiles_held: int, monkeypatch: pytest.MonkeyPatch) -> tuple[FeatureStore, CountingBackbone]:
    """A store whose memory holds only a few tiles, over a cache that has them all."""
    backbone = CountingBackbone()
    filled(TILES, SLIDES, backbone, FeatureCache(folder, backbone.info))
    backbone.images = 0
    size = bytes_per_tile(backbone.info, 32)
    monkeypatch.setattr("aczerots.backbones.cache.memory_limit", lambda: tiles_held * size)
    return FeatureStore(TILES, SLIDES, backbone, FeatureCache(folder, backbone.info)), backbone


def test_size_of_a_tile_by_hand():
    # (3 + 2) numbers of two bytes in 4 x 4 cells; pooled to 3 x 3 cells; a tile of 33 pixels has 5 x 5 cells.
    info = CountingBackbone().info
    assert bytes_per_tile(info, 32) == 5 * 2 * 16
    assert bytes_per_tile(info, 32, cells=3) == 5 * 2 * 9
    assert bytes_per_tile(info, 33, cells=8) == 5 * 2 * 25


def test_a_store_beyond_the_memory_reads_only_what_is_asked_for(tmp_path: Path, monkeypatch):
    expected = everything(filled(TILES, SLIDES, CountingBackbone(), None))
    store, backbone = bounded(tmp_path, 5, monkeypatch)
    read: list[int] = []
    plain = Shard.read

    def counted(self: Shard, rows: slice) -> object:
        read.append(rows.stop - rows.start)
        return plain(self, rows)

    monkeypatch.setattr(Shard, "read", counted)
    order = [3, 4, 5, 20, 3, 39]
    got = store[order]
    assert_same(got, DenseFeatures(expected.aligned[order], expected.layers[order]))
    assert sorted(read) == [1, 1, 3]  # 3-5 in one go, 20 and 39 alone
    assert len(store._held) == 5
    read.clear()
    assert_same(store[[5, 39]], DenseFeatures(expected.aligned[[5, 39]], expected.layers[[5, 39]]))
    assert read == []
    assert_same(everything(store), expected)
    assert len(store._held) == 5
    assert all(a.base is None for a, _ in store._held.values()), "a row must not keep its shard in memory"
    assert backbone.images == 0


def test_a_store_that_fits_reads_each_shard_once(tmp_path: Path, monkeypatch):
    store, _ = bounded(tmp_path, 1000, monkeypatch)
    everything(store)
    monkeypatch.setattr(Shard, "read", None)
    everything(store)


def test_a_tile_that_nobody_embedded_is_computed_when_asked_for(tmp_path: Path):
    backbone = CountingBackbone()
    store = FeatureStore(TILES, SLIDES, backbone, FeatureCache(tmp_path, backbone.info))
    assert store.plan() == FillPlan(40, 40, 40 * 5 * 2 * 16, tmp_path / backbone.info.hash)
    store.fill([7, 9])
    assert backbone.images == 2
    assert_same(
        store[[9, 30, 30]], filled([TILES[9], TILES[30], TILES[30]], SLIDES, CountingBackbone(), None)[[0, 1, 2]]
    )
    assert backbone.images == 3
    assert FeatureStore(TILES, SLIDES, backbone, FeatureCache(tmp_path, backbone.info)).plan().missing == 37


def test_a_shard_that_another_process_removed_is_redone(tmp_path: Path):
    backbone = CountingBackbone()
    store = filled(TILES, SLIDES, backbone, FeatureCache(tmp_path, backbone.info))
    again = FeatureStore(TILES, SLIDES, backbone, FeatureCache(tmp_path, backbone.info))
    for path in tmp_path.rglob("shard-*.zarr"):
        shutil.rmtree(path)
    assert_same(again[[1, 2]], store[[1, 2]])
    assert backbone.images == 42


def test_pooled_features_are_means_of_regions_and_lie_apart(tmp_path: Path):
    backbone, other = CountingBackbone(), Ramp()
    pooled = filled(TILES[:3], SLIDES, other, FeatureCache(tmp_path, other.info, 2))
    whole = filled(TILES[:3], SLIDES, other, FeatureCache(tmp_path, other.info))
    assert other.images == 6
    # Columns 0..3 of the ramp have the means 0.5 and 2.5 over each half.
    assert pooled[[0]].layers[0, 0].tolist() == [[0.5, 2.5], [0.5, 2.5]]
    assert pooled[[0]].aligned.shape == (1, 3, 2, 2)
    assert whole[[0]].layers.shape == (1, 2, 4, 4)
    tiny = filled(TILES[:1], SLIDES, backbone, FeatureCache(tmp_path, backbone.info, 9))
    assert tiny[[0]].layers.shape == (1, 2, 4, 4), "never more cells than there are"


def test_zeros_are_written_too(tmp_path: Path):
    """By default zarr leaves out chunks of zeros and reads missing ones as zeros; both must come back."""
    backbone = CountingBackbone()
    cache = FeatureCache(tmp_path, backbone.info)
    zeros = np.zeros((2, 3, 4, 4), np.float16)
    shard = cache.put(["a", "b"], zeros, zeros)
    assert cache.shards({"b"})[0].read(slice(0, 2))[0].tolist() == zeros.tolist()
    assert shard.keys == ("a", "b")
    assert cache.dropped == 0


def test_a_full_disk_is_said_before_anything_is_computed(tmp_path: Path, monkeypatch):
    backbone = CountingBackbone()
    monkeypatch.setattr("aczerots.backbones.storage.free_space", lambda folder: 6000)
    with pytest.raises(StorageError, match=r"needs 6\.4 kB.*6\.0 kB are free.*--cache pooled"):
        filled(TILES, SLIDES, backbone, FeatureCache(tmp_path, backbone.info))
    assert backbone.images == 0
    filled(TILES[:30], SLIDES, backbone, FeatureCache(tmp_path, backbone.info))
    filled(TILES, SLIDES, backbone, FeatureCache(tmp_path, backbone.info))
    assert backbone.images == 40


def fill(folder: Path, part: slice) -> None:
    backbone = CountingBackbone()
    filled(TILES[part], SLIDES, backbone, FeatureCache(folder, backbone.info))


@pytest.mark.slow
def test_several_processes_may_fill_it(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=fill, args=(tmp_path, part)) for part in (slice(0, 30), slice(10, 40))]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert [w.exitcode for w in workers] == [0, 0]
    backbone = CountingBackbone()
    filled(TILES, SLIDES, backbone, FeatureCache(tmp_path, backbone.info))
    assert backbone.images == 0


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    backbone = CountingBackbone()
    with pytest.raises(StorageError, match="ACZEROTS_CACHE"):
        filled(TILES[:2], SLIDES, backbone, FeatureCache(tmp_path / "file", backbone.info))


def test_progress_counts_every_tile(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    backbone = CountingBackbone()
    filled(TILES[:20], SLIDES, backbone, None, progress=lambda i, n: seen.append((i, n)))
    assert seen == [(8, 20), (16, 20), (20, 20)]


def test_progress_is_told_of_cached_tiles(tmp_path: Path):
    backbone = CountingBackbone()
    filled(TILES[:12], SLIDES, backbone, FeatureCache(tmp_path, backbone.info))
    seen: list[tuple[int, int]] = []
    cache = FeatureCache(tmp_path, backbone.info)
    filled(TILES[:20], SLIDES, backbone, cache, progress=lambda i, n: seen.append((i, n)))
    assert seen == [(12, 20), (20, 20)]


@pytest.mark.parametrize("name", ["aligned", "layers"])
def test_a_shard_without_its_data_is_not_read_as_zeros(tmp_path: Path, name: str):
    backbone = CountingBackbone()
    sound = everything(filled(TILES, SLIDES, backbone, FeatureCache(tmp_path, backbone.info)))
    next(p for p in tmp_path.rglob("*") if p.is_file() and f"/{name}/c/" in p.as_posix()).unlink()
    cache = FeatureCache(tmp_path, backbone.info)
    again = filled(TILES, SLIDES, backbone, cache)
    assert (cache.dropped, backbone.images) == (1, 80)
    assert_same(everything(again), sound)


@pytest.mark.parametrize("keys", [None, 7, ["more", "keys", "than", "rows"]])
def test_a_shard_with_a_wrong_list_of_tiles_is_redone(tmp_path: Path, keys: object):
    backbone = CountingBackbone()
    filled(TILES[:2], SLIDES, backbone, FeatureCache(tmp_path, backbone.info))
    path = next(p for p in tmp_path.rglob("zarr.json") if "keys" in p.read_text())
    facts = json.loads(path.read_text())
    stored = facts["attributes"]["keys"]
    facts["attributes"]["keys"] = keys + stored if isinstance(keys, list) else keys
    path.write_text(json.dumps(facts))
    cache = FeatureCache(tmp_path, backbone.info)
    filled(TILES[:2], SLIDES, backbone, cache)
    assert (cache.dropped, backbone.images) == (1, 4)


class Interrupted(CountingBackbone):
    """Ctrl-C after 16 images."""

    def encode_image(self, images: torch.Tensor) -> DenseFeatures:
        if self.images == 16:
            raise KeyboardInterrupt
        return super().encode_image(images)


def test_an_interrupt_does_not_cost_the_finished_tiles(tmp_path: Path):
    first, second = Interrupted(), CountingBackbone()
    with pytest.raises(KeyboardInterrupt):
        filled(TILES, SLIDES, first, FeatureCache(tmp_path, first.info))
    filled(TILES, SLIDES, second, FeatureCache(tmp_path, second.info))
    assert second.images == len(TILES) - 16


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO])
def test_a_shard_that_cannot_be_opened_now_is_kept(tmp_path: Path, monkeypatch, number: int):
    backbone = CountingBackbone()
    filled(TILES, SLIDES, backbone, FeatureCache(tmp_path, backbone.info))

    def refuse(*args: object, **kwargs: object) -> object:
        raise OSError(number, "not now")

    with monkeypatch.context() as patch:
        patch.setattr("zarr.open_group", refuse)
        with pytest.raises(StorageError, match="cannot read the cache: not now"):
            filled(TILES, SLIDES, backbone, FeatureCache(tmp_path, backbone.info))
    filled(TILES, SLIDES, backbone, FeatureCache(tmp_path, backbone.info))
    assert backbone.images == len(TILES)


def test_tiles_of_different_sizes_are_one_clear_error():
    other = Tile("grey1", Box(0, 0, 64, 64), Box(0, 0, 64, 64), 64)
    with pytest.raises(SettingsError, match="different sizes"):
        filled([TILES[0], other], SLIDES, CountingBackbone(), None)


def test_the_cache_of_another_backbone_is_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="another backbone"):
        filled(TILES[:2], SLIDES, CountingBackbone("2"), FeatureCache(tmp_path, CountingBackbone("1").info))
