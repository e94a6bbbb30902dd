"""`aczerots predict` on good and bad slides in one go."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.patience import PATIENCE, wait_until
from tests.slides.pyramids import write_ome, write_svs

from aczerots.cli.app import main
from aczerots.predict.slide_map import MapOptions
from aczerots.predict.slides import predict_slides

pytestmark = pytest.mark.slow


def run(*arguments: object) -> int:
    """Exit code of the command in this process."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


def bad_slides(folder: Path, svs: Path, pixels: np.ndarray) -> dict[Path, str]:
    """Slides that cannot be used, and a word of the reason each."""
    data = svs.read_bytes()
    (folder / "truncated.svs").write_bytes(data[: len(data) // 2])
    (folder / "zero.svs").write_bytes(b"")
    Image.fromarray(pixels[:64, :64]).save(folder / "a.png")
    (folder / "a.png").rename(folder / "picture.svs")
    write_svs(folder / "bare.svs", pixels[:300, :300], mpp=None)
    broken = bytearray(data)
    with tifffile.TiffFile(svs) as file:
        start, size = file.pages[0].dataoffsets[12], file.pages[0].databytecounts[12]
    broken[start : start + size] = b"\xa5" * size
    (folder / "tile.svs").write_bytes(broken)
    ome = write_ome(folder / "level.ome.tif", pixels[:600, :600], (4,))
    level = bytearray(ome.read_bytes())
    with tifffile.TiffFile(ome) as file:
        tag = file.pages[0].tags["SubIFDs"]
        level[tag.valueoffset : tag.valueoffset + 4] = (len(level) + 4096).to_bytes(4, "little")
    ome.write_bytes(level)
    words = {
        "truncated.svs": "cannot be",
        "zero.svs": "empty",
        "picture.svs": "content is PNG",
        "bare.svs": "no resolution",
        "tile.svs": "level 0 cannot be read",
        "level.ome.tif": "cannot be",
        "missing.svs": "missing",
    }
    return {folder / name: word for name, word in words.items()}


def test_bad_slides_are_reported_and_the_others_finish(
    model_file: Path, svs: Path, pixels: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = bad_slides(tmp_path, svs, pixels)
    good = write_svs(tmp_path / "good.svs", pixels[300:700, 400:800], (4,))
    last = write_svs(tmp_path / "last.svs", pixels[400:700, 300:700], (4,))
    out = tmp_path / "out"
    assert run("predict", model_file, *list(bad)[:3], good, *list(bad)[3:], last, "--out", out, "--json") == 1
    said = capsys.readouterr()
    assert [row["image"] for row in json.loads(said.out)] == ["good.svs", "last.svs"]
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(bad)
    for (path, word), line in zip(bad.items(), errors, strict=True):
        assert path.name in line
        assert word in line
    assert {p.name for p in out.glob("[!.]*")} == {
        "areas.csv",
        *(f"{n}.{end}" for n in ("good", "last") for end in ("json", "geojson", "labels.tif", "overlay.png")),
        "good.labels.ome.tif",
        "last.labels.ome.tif",
    }
    with (out / "areas.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["slide", "class", "share", "mm2"]
    assert {r["slide"] for r in rows} == {"good", "last"}
    assert run("predict", model_file, tmp_path / "bare.svs", "--mpp", 0.5, "--out", out) == 0


def test_a_blank_slide_has_no_area(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    blank = np.clip(238 + rng.normal(0, 2, (600, 700, 3)), 0, 255).astype(np.uint8)
    path = write_svs(tmp_path / "blank.svs", blank, (4,))
    assert run("predict", model_file, path, "--out", tmp_path / "out") == 0
    assert "no tissue found" in capsys.readouterr().err
    with (tmp_path / "out" / "areas.csv").open(newline="") as file:
        assert {(r["share"], float(r["mm2"])) for r in csv.DictReader(file)} == {("", 0.0)}
    assert (tifffile.imread(tmp_path / "out" / "blank.labels.tif") == 255).all()
    assert json.loads((tmp_path / "out" / "blank.geojson").read_text())["features"] == []


def test_a_wrong_resolution_in_a_file_can_be_corrected_and_it_is_told_once(
    model_file: Path, pixels: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = write_svs(tmp_path / "right.svs", pixels[300:700, 400:800], (4,), mpp=0.5)
    wrong = write_svs(tmp_path / "wrong.svs", pixels[300:700, 400:800], (4,), mpp=0.05)
    assert run("predict", model_file, right, wrong, "--out", tmp_path / "out", "--mpp", 0.5) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("as given") == 1
    assert "0.5 micrometres per pixel are used, as given; the file states 0.05" in said
    with (tmp_path / "out" / "areas.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    areas = {s: [(r["class"], r["mm2"]) for r in rows if r["slide"] == s] for s in ("right", "wrong")}
    assert areas["right"] == areas["wrong"]
    assert run("predict", model_file, right, "--out", tmp_path / "out", "--mpp", 500) == 1
    assert "500 micrometres per pixel are no resolution" in capsys.readouterr().err


def test_options_that_make_no_sense(model_file: Path, svs: Path, tmp_path: Path) -> None:
    assert run("predict", model_file, svs, "--out", tmp_path, "--overlap", 1) == 1
    assert run("predict", model_file, svs, "--out", tmp_path, "--add-class", "necrosis") == 1


def test_a_killed_prediction_goes_on(model_file: Path, pixels: np.ndarray, tmp_path: Path) -> None:
    svs = write_svs(tmp_path / "section.svs", pixels[300:900], (4,))  # six chunks
    code = (
        "import sys, time; from pathlib import Path; from aczerots.predict import slide_map, slides\n"
        "model, slide, out = map(Path, sys.argv[1:4]); scores = slide_map.box_scores\n"
        "def hang(*given):\n"
        "    if any(out.glob('.section.chunks/*.chunk')): time.sleep(float(sys.argv[4]))\n"
        "    return scores(*given)\n"
        "slide_map.box_scores = hang\n"
        "slides.predict_slides(model, [slide], out, options=slide_map.MapOptions(chunk=512))"
    )
    command = [sys.executable, "-c", code, str(model_file), str(svs), str(tmp_path / "killed"), str(PATIENCE)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    chunks = tmp_path / "killed" / ".section.chunks"
    wait_until(lambda: any(chunks.glob("*.chunk")), lambda: process.poll() is None)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=PATIENCE)
    assert not (tmp_path / "killed" / "section.json").exists()
    for out in ("killed", "whole"):
        predict_slides(model_file, [svs], tmp_path / out, options=MapOptions(chunk=512))
    names = sorted(p.name for p in (tmp_path / "whole").iterdir())
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == names
    for name in names:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
