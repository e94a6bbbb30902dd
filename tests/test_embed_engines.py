"""Filling the cache on an engine of several workers: the same grids, each once."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zarr

from aczerots.backbones.options import BackboneOptions
from aczerots.config import SimulateSettings
from aczerots.engine.base import Engine, Failure
from aczerots.engine.local import HereEngine, ProcessEngine
from aczerots.errors import AczerotsError
from aczerots.loop.embed import EmbedJob, EmbedUnit, dataset_stores, embed_dataset

pytestmark = pytest.mark.slow

SETTINGS = SimulateSettings(dataset="phantom:6,size=192", tile_size=32, cache="pooled")


def grids(cache: Path) -> dict[tuple[str, str], str]:
    """Digest of the grids of each key, by folder and key; a key that is there twice is an error."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted(cache.glob("*/shard-*.zarr")):
        group = zarr.open_group(path, mode="r")
        for i, key in enumerate(group.attrs["keys"]):
            assert (path.parent.name, key) not in found
            pair = group["aligned"][i].tobytes() + group["layers"][i].tobytes()
            found[path.parent.name, key] = hashlib.sha256(pair).hexdigest()
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("here")
    embed_dataset(SETTINGS, cache=cache)
    return cache


def test_processes_compute_the_same_grids_once(here: Path, tmp_path: Path) -> None:
    engine = ProcessEngine(["cpu", "cpu"])
    done = embed_dataset(SETTINGS, cache=tmp_path, engine=engine)
    assert done.computed == len(grids(here)) > 150
    assert grids(tmp_path) == grids(here)
    assert embed_dataset(SETTINGS, cache=tmp_path, engine=engine).computed == 0


@dataclass(frozen=True)
class Twice:
    """Does every other unit by two workers, as when the answer of one was lost."""

    job: EmbedJob

    def open(self, device: str) -> Callable[[EmbedUnit], None]:
        one, other = self.job.open(device), self.job.open(device)

        def both(unit: EmbedUnit) -> None:
            one(unit)
            other(unit)

        return both


class Repeats:
    """Runs units twice; satisfies Engine."""

    workers = 2
    here = False

    def run(self, job: Any, units: Sequence[Any], ended: Callable[[Any, Any], Sequence[Any]]) -> None:
        HereEngine().run(Twice(job), units, ended)


def test_a_unit_that_is_done_twice_is_there_once(here: Path, tmp_path: Path) -> None:
    engine = Repeats()
    assert isinstance(engine, Engine)
    embed_dataset(SETTINGS, cache=tmp_path, engine=engine)
    assert grids(tmp_path) == grids(here)


def test_two_writers_of_one_shard_leave_one(here: Path, tmp_path: Path) -> None:
    store, _ = dataset_stores(SETTINGS, BackboneOptions(), tmp_path, "cpu")
    cache = store.cache
    assert cache is not None
    aligned, layers = (g.half().numpy() for g in (store[[0, 1]].aligned, store[[0, 1]].layers))
    name = uuid.uuid4().hex
    first = cache.put(["a", "b"], aligned, layers, name)
    second = cache.put(["a", "b"], aligned, layers, name)
    assert first.path == second.path
    assert cache.has(name)
    assert not list(tmp_path.glob("*/writing-*"))


class Fails:
    """Fails every unit; satisfies Engine."""

    workers = 2
    here = False

    def run(self, job: Any, units: Sequence[Any], ended: Callable[[Any, Any], Sequence[Any]]) -> None:
        for unit in units:
            ended(unit, Failure("InputError", "a.png: the image is broken"))


def test_failures_are_told(tmp_path: Path) -> None:
    with pytest.raises(AczerotsError, match=r"a.png: the image is broken \(\d+ of \d+ shards failed\)"):
        embed_dataset(SETTINGS, cache=tmp_path, engine=Fails())
