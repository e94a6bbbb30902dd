"""Filling the cache from the command line: what it says, going on, doing nothing twice; runs in all cache modes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aczerots.backbones.embedded import EmbeddedBackbone
from aczerots.cli.app import main
from aczerots.config import SimulateSettings
from aczerots.errors import SettingsError, StorageError
from aczerots.loop.embed import embed_dataset
from aczerots.simulation.simulate import simulate

DATA = "phantom:6,size=64"
SMALL = SimulateSettings(dataset=DATA, tile_size=32)
RUN = {"dataset": "phantom:6,size=96", "unseen": ("necrosis",), "tile_size": 96, "preset": "zeroshot"}
RUN |= {"rounds": 2, "initial": 0.4, "budget": 0.3}


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


class Spoken:
    """Remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[int, int]] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def step(self, stage: str, done: int, total: int) -> None:
        if stage.startswith("embed"):
            self.steps.append((done, total))


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of images in each call of the built-in backbone."""
    calls: list[int] = []
    plain = EmbeddedBackbone.encode_image

    def counted(self: EmbeddedBackbone, images: object) -> object:
        calls.append(len(images))
        return plain(self, images)

    monkeypatch.setattr(EmbeddedBackbone, "encode_image", counted)
    return calls


def test_the_second_time_there_is_nothing_to_do(tmp_path: Path, monkeypatch, capsys, count: list[int]):
    monkeypatch.setenv("ACZEROTS_CACHE", str(tmp_path))
    assert run("embed", DATA, "--tile-size", 32) == 0
    first = capsys.readouterr()
    assert first.out.startswith("Computed 24 tiles: the dense features of all 24 tiles (")
    assert str(tmp_path) in first.out
    assert "embed: 24 of 24 tiles to compute" in first.err
    assert "free" in first.err
    assert sum(count) == 24
    assert run("embed", DATA, "--tile-size", 32) == 0
    assert capsys.readouterr().out.startswith("Nothing to do: the dense features of all 24 tiles (")
    assert sum(count) == 24
    assert run("embed", DATA, "--tile-size", 32, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    # The promise of the estimate: what is on the disk is a little more, for the checksums.
    written = sum(p.stat().st_size for p in tmp_path.rglob("c/0/0/0/0"))
    assert facts["bytes"] < written < 1.05 * facts["bytes"]


def test_it_goes_on_after_an_interrupt(tmp_path: Path, count: list[int]):
    def stop(*_: object) -> None:
        if sum(count) >= 16:
            raise KeyboardInterrupt

    progress = Spoken()
    progress.step = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        embed_dataset(SMALL, cache=tmp_path, progress=progress)
    again = Spoken()
    assert embed_dataset(SMALL, cache=tmp_path, progress=again).computed == 8
    assert again.steps[-1] == (24, 24)
    assert [s[0] for s in again.steps] == sorted(s[0] for s in again.steps)
    assert sum(count) == 24


@pytest.mark.slow
def test_simulate_uses_what_was_embedded(tmp_path: Path, count: list[int]):
    for mode in ("dense", "pooled"):
        embed_dataset(SimulateSettings(**RUN, cache=mode), cache=tmp_path / mode)
        count.clear()
        progress = Spoken()
        settings = SimulateSettings(**RUN | {"rounds": 0, "cache": mode})
        simulate(settings, tmp_path / f"run-{mode}", cache=tmp_path / mode, progress=progress)
        assert count == []
        assert not any("to compute" in line for line in progress.lines)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    """Metrics rows of the same run in each cache mode."""
    base = tmp_path_factory.mktemp("modes")
    out = {}
    for mode in ("dense", "off"):
        folder = base / mode
        out[mode] = simulate(SimulateSettings(**RUN, cache=mode), folder, cache=base / f"cache-{mode}")
    out["folder"] = base
    return out


@pytest.mark.slow
def test_dense_and_off_give_the_same_numbers_and_off_writes_nothing(rows):
    assert str(rows["dense"]) == str(rows["off"])  # as text, since an undefined number does not equal itself
    assert not (rows["folder"] / "cache-off").exists()


@pytest.mark.slow
def test_a_run_may_go_on_in_memory_but_not_pooled(rows):
    folder, cache = rows["folder"] / "dense", rows["folder"] / "cache-dense"
    again = simulate(SimulateSettings(**RUN, cache="off"), folder, cache=cache)
    assert str(again) == str(rows["dense"])
    with pytest.raises(SettingsError, match=r"cache 'off' .now 'pooled'"):
        simulate(SimulateSettings(**RUN, cache="pooled"), folder, cache=cache)


@pytest.mark.slow
@pytest.mark.usefixtures("short_fits")
def test_pooled_computes_whole_grids_only_of_what_a_fit_sees(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("aczerots.loop.pool.CONTEXT", 1)
    progress = Spoken()
    settings = SimulateSettings(
        **RUN | {"dataset": "phantom:10,size=64", "tile_size": 64, "rounds": 1, "initial": 0.3, "preset": "prozs"}
    )
    simulate(settings.model_copy(update={"cache": "pooled"}), tmp_path / "run", cache=tmp_path / "c", progress=progress)
    dense, pooled = (sum(len(keys_of(p)) for p in d.glob("shard-*")) for d in sorted((tmp_path / "c").iterdir()))
    assert pooled == 7, "the pool"
    # 3 test tiles, 2 drawn tiles and 1 tile of context
    assert dense == 3 + 2 + 1
    assert any("full-label model: left out" in line for line in progress.lines)
    assert (tmp_path / "run" / "report.html").exists()


def keys_of(shard: Path) -> list[str]:
    keys: list[str] = json.loads((shard / "zarr.json").read_text())["attributes"]["keys"]
    return keys


def test_no_room_is_said_with_the_estimate(tmp_path: Path, monkeypatch, count: list[int]):
    monkeypatch.setattr("aczerots.backbones.storage.free_space", lambda folder: 1000)
    with pytest.raises(StorageError, match=r"the cache needs .* for these features, and 1\.0 kB are free"):
        embed_dataset(SMALL, cache=tmp_path)
    monkeypatch.setattr("aczerots.loop.embed.available_memory", lambda: 1000)
    with pytest.raises(SettingsError, match=r"--cache: the \w+ need .* of memory, 1\.0 kB are free"):
        simulate(SimulateSettings(**RUN, cache="off"), tmp_path / "run")
    assert count == []


@pytest.mark.parametrize("command", [["embed", DATA, "--cache", "off"], ["simulate", DATA, "--cache", "wide"]])
def test_an_unknown_mode_is_one_clear_error(tmp_path: Path, capsys, command: list[str]):
    out = ["--out", str(tmp_path)] if command[0] == "simulate" else []
    assert run(*command, *out) == 1
    assert capsys.readouterr().err.startswith("error: --cache")
