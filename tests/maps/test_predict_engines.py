"""Slides on engines: the same bytes as in this process, whoever does what; parts; results behind URLs."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
from tests.slides.pyramids import write_svs

from aczerots.cli.app import main
from aczerots.engine.local import HereEngine, ProcessEngine
from aczerots.engine.progress import Silent
from aczerots.errors import AczerotsError, InputError, SettingsError, StorageError
from aczerots.predict.jobs import MapJob, Mapper, MapUnit
from aczerots.predict.segmenter import Segmenter
from aczerots.predict.slide_map import MapOptions, SlideTask, segment_slide
from aczerots.predict.slides import part_of, predict_slides, read_part
from aczerots.slides.open import open_slide
from aczerots.storage.remote import OutFolder, SlideFetcher, absolute, open_folder

SMALL = MapOptions(probabilities=True, chunk=512)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def slides(pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A section of six chunks and a slide of one."""
    folder = tmp_path_factory.mktemp("slides")
    large = write_svs(folder / "section.svs", pixels[300:900], (4,))
    return [large, write_svs(folder / "small.svs", pixels[300:600, 400:700], (4,))]


@pytest.fixture(scope="module")
def here(model_file: Path, slides: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that is written of them in this process."""
    out = tmp_path_factory.mktemp("here")
    rows, failures = predict_slides(model_file, slides, out, options=SMALL)
    assert [row["image"] for row in rows] == ["section.svs", "small.svs"]
    assert failures == []
    return out


@pytest.mark.slow
def test_processes_write_the_same_bytes_and_a_bad_slide_stops_nobody(
    here: Path, model_file: Path, slides: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.svs"
    bad.write_bytes(b"no slide")
    out = tmp_path / "out"
    engine = ProcessEngine(["cpu", "cpu"])
    rows, failures = predict_slides(model_file, [bad, *slides], out, options=SMALL, engine=engine)
    assert [row["image"] for row in rows] == ["section.svs", "small.svs"]
    assert [str(bad) in str(failure) for failure in failures] == [True]
    assert digests(out) == digests(here)


class Interrupted(Silent):
    """Stops after some chunks, as Ctrl-C would."""

    def __init__(self, after: int) -> None:
        self.after = after

    def step(self, stage: str, done: int, total: int) -> None:
        if stage == "predict section" and done == self.after:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_another_engine_goes_on(here: Path, model_file: Path, slides: list[Path], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        predict_slides(model_file, slides, tmp_path, options=SMALL, progress=Interrupted(4))
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.glob(".section.chunks/*.chunk")}
    assert len(kept) == 4
    predict_slides(model_file, slides, tmp_path, options=SMALL, engine=ProcessEngine(["cpu"]))
    assert digests(tmp_path) == digests(here)


@pytest.mark.slow
def test_units_in_any_order_and_twice(here: Path, segmenter: Segmenter, slides: list[Path], tmp_path: Path) -> None:
    """What retries and lost nodes lead to: parts backwards, one of them twice, by two workers."""
    svs = str(slides[0])
    job = MapJob("", str(tmp_path), options=SMALL, split=True)
    one, other = (Mapper(job, segmenter, OutFolder(tmp_path), SlideFetcher()) for _ in range(2))
    assert one(MapUnit(svs)).chunks == 6
    assert other(MapUnit(svs)).chunks == 6
    for number in (4, 2, 5, 4, 0, 3, 1):
        other(MapUnit(svs, "chunk", number))
    with pytest.raises(StorageError, match="has gone"):
        Mapper(replace(job, out=""), segmenter, OutFolder(tmp_path / "elsewhere"), SlideFetcher())(
            MapUnit(svs, "finish")
        )
    assert one(MapUnit(svs, "finish")).map is not None
    own = {name: digest for name, digest in digests(here).items() if name.startswith("section.")}
    assert digests(tmp_path) == own


@pytest.mark.slow
def test_results_and_slides_behind_urls(
    here: Path, model_file: Path, slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACZEROTS_SCRATCH", str(tmp_path / "scratch"))
    files = fsspec.filesystem("memory")
    files.store.clear()
    for slide in slides:
        files.put_file(str(slide), f"/in/{slide.name}")
    places = [f"memory://in/{slide.name}" for slide in slides]
    with pytest.raises(KeyboardInterrupt):
        predict_slides(model_file, places, "memory://out/maps", options=SMALL, progress=Interrupted(4))
    assert len(files.find("/out/maps/.section.chunks")) == 4
    # A worker of another machine goes on with what is behind the URL.
    monkeypatch.setenv("ACZEROTS_SCRATCH", str(tmp_path / "other"))
    missing = "memory://in/missing.svs"
    rows, failures = predict_slides(model_file, [*places, missing], "memory://out/maps", options=SMALL)
    assert [row["image"] for row in rows] == ["section.svs", "small.svs"]
    assert [str(failure) for failure in failures] == [f"{missing}: the file is missing"]
    files.get("/out/maps", str(tmp_path / "got"), recursive=True)
    assert digests(tmp_path / "got") == digests(here)
    left = [p for p in (tmp_path / "other").rglob("*") if p.is_file()]
    assert [p.name for p in left if p.suffix != ".svs" and p.name != "areas.csv"] == []
    again = predict_slides(model_file, places, "memory://out/maps", options=SMALL)[0]
    assert again == rows


def test_a_remote_folder_keeps_files_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where renaming is how files become whole: no reader ever sees half of one."""
    files = fsspec.filesystem("file")
    folder = OutFolder(tmp_path / "here", f"local://{tmp_path}/there")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.bin").write_bytes(b"first")
    folder.keep("a.bin")
    (tmp_path / "here" / "a.bin").write_bytes(b"second")

    def breaks(self: object, source: str, target: str, **_: object) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:3])
        raise OSError("the line was cut")

    monkeypatch.setattr(type(files), "put_file", breaks)
    with pytest.raises(StorageError, match="the line was cut"):
        folder.keep("a.bin")
    folder.release("a.bin")
    folder.fetch("a.bin")
    assert (tmp_path / "here" / "a.bin").read_bytes() == b"first"


def test_slides_of_several_files_come_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACZEROTS_SCRATCH", str(tmp_path))
    files = fsspec.filesystem("memory")
    files.store.clear()
    for name in ("a.mrxs", "a/Slidedat.ini", "a/Data0000.dat", "b.dcm", "c.dcm", "d.svs"):
        files.pipe(f"/in/{name}", name.encode())
    fetcher = SlideFetcher()

    def fetched(name: str) -> list[str]:
        folder = fetcher.fetch(f"memory://in/{name}").parent
        return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())

    assert fetched("a.mrxs") == ["a.mrxs", "a/Data0000.dat", "a/Slidedat.ini"]
    assert fetched("b.dcm") == ["b.dcm", "c.dcm"], "the slide before it is gone"
    assert fetched("d.svs") == ["d.svs"]
    monkeypatch.setattr("aczerots.storage.remote.free_space", lambda _: 3)
    with pytest.raises(StorageError, match="takes 10 B, and 3 B are free"):
        fetcher.fetch("memory://in/c.dcm")


def test_urls_and_paths(tmp_path: Path) -> None:
    assert absolute("s3://bucket/a.svs") == "s3://bucket/a.svs"
    assert absolute(f"file://{tmp_path}/a.svs") == str(tmp_path / "a.svs")
    assert absolute("a.svs") == str(Path.cwd() / "a.svs")
    assert open_folder(str(tmp_path)).local == tmp_path
    with pytest.raises(AczerotsError, match=r"cannot be used|needs the extra"):
        open_folder("nonsense://bucket")


@pytest.mark.parametrize("count", [1, 3, 7, 30])
def test_parts_are_disjoint_and_complete(count: int) -> None:
    slides = [f"{i}.svs" for i in range(23)]
    parts: Sequence[list[str]] = [part_of(slides, i + 1, count) for i in range(count)]
    assert sorted(slide for part in parts for slide in part) == sorted(slides)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3"])
def test_parts_that_are_none(text: str) -> None:
    with pytest.raises(SettingsError, match="--part"):
        part_of(["a.svs"], *read_part(text))


@pytest.mark.slow
def test_array_jobs_share_a_folder(
    here: Path, model_file: Path, slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each job does its part; the last command finds all finished and writes the table of all."""
    for i in (1, 2):
        predict_slides(model_file, slides, tmp_path, options=SMALL, part=(i, 2))
        with (tmp_path / f"areas-{i}-of-2.csv").open(newline="") as file:
            assert {row["slide"] for row in csv.DictReader(file)} == {slides[i - 1].stem}
        (tmp_path / f"areas-{i}-of-2.csv").unlink()

    def never(*_: object) -> None:
        raise InputError("computed again")

    monkeypatch.setattr("aczerots.predict.slide_map.box_scores", never)
    predict_slides(model_file, slides, tmp_path, options=SMALL, engine=HereEngine())
    assert digests(tmp_path) == digests(here)


@pytest.mark.slow
def test_the_command_takes_engine_and_part(
    model_file: Path, slides: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: object) -> int:
        with pytest.raises(SystemExit) as stop:
            main(["predict", str(model_file), *map(str, slides), "--out", str(tmp_path), *map(str, arguments)])
        return int(stop.value.code or 0)

    assert run("--part", "2/2", "--json") == 0
    assert [row["image"] for row in json.loads(capsys.readouterr().out)] == ["small.svs"]
    assert run("--part", "3/2") == 1
    assert run("--engine", "cluster") == 1
    assert run("--jobs", "0") == 1
    assert run("--address", "auto") == 1


@pytest.mark.slow
def test_files_do_not_depend_on_who_paints(
    here: Path, segmenter: Segmenter, slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside an accelerator another thread paints a chunk while the next is computed."""
    monkeypatch.setattr(SlideTask, "painted_aside", True)
    for slide in slides:
        segment_slide(SlideTask(segmenter, open_slide(slide), OutFolder(tmp_path), SMALL), Silent())
    own = {name: digest for name, digest in digests(here).items() if name != "areas.csv"}
    assert digests(tmp_path) == own


def test_copies_of_killed_processes_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACZEROTS_SCRATCH", str(tmp_path))
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    for name in (f"slides-{int(dead.stdout)}-x", f"slides-{os.getpid()}-x", "slides-other-x"):
        (tmp_path / name).mkdir()
    files = fsspec.filesystem("memory")
    files.pipe("/in/a.svs", b"a")
    fetcher = SlideFetcher()
    own = fetcher.fetch("memory://in/a.svs").parent
    assert {p.name for p in tmp_path.iterdir()} == {own.name, f"slides-{os.getpid()}-x", "slides-other-x"}
    del fetcher
    assert not own.exists()


def test_a_slide_that_the_server_refuses_is_that_slides_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACZEROTS_SCRATCH", str(tmp_path))
    files = fsspec.filesystem("memory")
    files.pipe("/in/a.svs", b"a")

    def refuses(*_: object, **__: object) -> None:
        raise PermissionError("Forbidden")

    monkeypatch.setattr(type(files), "get_file", refuses)
    with pytest.raises(InputError, match=r"memory://in/a.svs: cannot be reached \(Forbidden\)"):
        SlideFetcher().fetch("memory://in/a.svs")
