"""Engines of one machine."""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.engine.engine_contract import EngineContract, Squares, WorkerContract, collect

from aczerots.engine.base import Engine
from aczerots.engine.locate import local_devices, locate_engine
from aczerots.errors import SettingsError


class TestHere(EngineContract):
    """This process."""

    @pytest.fixture
    def engine(self) -> Engine:
        return locate_engine()

    def test_works_in_this_process(self, engine: Engine, tmp_path: Path) -> None:
        collect(engine, Squares(str(tmp_path)), [1])
        assert engine.here
        assert {p.name for p in tmp_path.iterdir()} == {f"1-{os.getpid()}"}


class TestProcesses(WorkerContract):
    """Two processes."""

    @pytest.fixture
    def engine(self) -> Engine:
        return locate_engine(workers=2)

    def test_all_workers_work(self, engine: Engine, tmp_path: Path) -> None:
        assert engine.workers == 2
        collect(engine, Squares(str(tmp_path)), list(range(200)))
        pids = {p.name.partition("-")[2] for p in tmp_path.iterdir()}
        assert len(pids) == 2
        assert str(os.getpid()) not in pids


@pytest.mark.slow
def test_a_worker_per_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert local_devices("cuda", None) == ("cuda:0", "cuda:1", "cuda:2")
    assert local_devices("auto", 4) == ("cuda:0", "cuda:1", "cuda:2", "cuda:0")
    assert local_devices("cuda:1", None) == ("cuda:1",)
    assert local_devices("cpu", 2) == ("cpu", "cpu")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"name": "cluster"}, "no engine"),
        ({"workers": 0}, "--jobs"),
        ({"address": "auto"}, "--engine ray"),
        ({"name": "ray", "device": "cuda:1"}, "--device"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        locate_engine(**options)
