"""Which files are the slides of a project: broken, moved and renamed ones, and several files of one slide."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.project.conftest import CLASSES, write_image

from aczerots.annotation.store.commits import SharedTransaction
from aczerots.cli.app import main
from aczerots.errors import InputError, SettingsError
from aczerots.project import folder as project_folder
from aczerots.project.folder import Project, add_slides, init_project, open_project, resolution_note
from aczerots.project.patients import read_patients, read_slide_mpp
from aczerots.project.settings import make_settings
from aczerots.project.slides import find_files
from aczerots.server.served import ServedProject
from aczerots.server.views import project_info, tile_info
from aczerots.slides.dicom import series_files, series_of
from aczerots.slides.files import fingerprint_files
from aczerots.slides.image import ImageSlide
from aczerots.slides.open import read_slide
from aczerots.slides.whole import _parts


class Lines:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def step(self, stage: str, done: int, total: int) -> None:
        pass


def blank_slide(path: Path) -> Path:
    """A slide of glass that is read in parts."""
    import tifffile

    metadata = {"axes": "YXS", "PhysicalSizeX": 4.0, "PhysicalSizeY": 4.0}
    pixels = np.full((512, 512, 3), 243, np.uint8)
    tifffile.imwrite(path, pixels, ome=True, tile=(256, 256), photometric="rgb", metadata=metadata)
    return path


def cut(path: Path, source: Path) -> Path:
    """The first half of a file."""
    path.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    return path


def test_slides_that_cannot_be_used_are_left_out_and_said(tmp_path: Path, images: Path):
    blank_slide(images / "blank.ome.tif")
    cut(images / "cut.png", images / "a.png")
    Image.open(images / "a.png").convert("RGB").save(tmp_path / "whole.jpg")
    cut(images / "cutter.jpg", tmp_path / "whole.jpg")
    (images / "notes.txt").write_text("not a slide")
    (images / "empty.svs").touch()
    # Bytes behind the end do no harm.
    (images / "longer.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes() + bytes(64))
    lines = Lines()
    added = init_project(tmp_path / "p", [str(images / "*")], make_settings(classes=CLASSES), lines)
    assert added.new == ["a", "b", "longer"]
    names = ["blank.ome.tif", "cut.png", "cutter.jpg", "empty.svs", "notes.txt"]
    assert [Path(str(e.where)).name for e in added.left_out] == names
    assert lines.said[:-1] == [f"left out: {e}" for e in added.left_out]
    assert "no class is the background" in lines.said[-1]
    assert "no tissue was found" in lines.said[0]
    with open_project(tmp_path / "p") as project:
        assert list(project.slides) == ["a", "b", "longer"]
        again = add_slides(project, [blank_slide(tmp_path / "more.ome.tif")])
    assert (again.new, len(again.left_out)) == ([], 1)


def test_moved_slides_are_found_again_and_the_error_says_how(project: Project, images: Path, tmp_path: Path):
    images.rename(tmp_path / "new")
    with pytest.raises(
        InputError, match=r'missing \(and 1 more of 2 slides\).*aczerots import .* --slides "NEW_FOLDER/'
    ):
        project.slides.open_all()
    with pytest.raises(InputError, match=r"a\.png: the slide is missing\. .*aczerots import"):
        _ = project.slides["a"]
    found = add_slides(project, find_files([str(tmp_path / "new" / "*.png")]))
    assert (found.new, found.moved, found.left_out) == ([], ["a", "b"], [])
    again = Project(project.folder, project.settings, project.store)
    again.slides.open_all()
    assert len(project.store.rounds.tiles()) == 5
    # Neither a slide that stays where it is, nor a copy of it, is one that has moved.
    copy = tmp_path / "copy.png"
    copy.write_bytes((tmp_path / "new" / "b.png").read_bytes())
    found = add_slides(again, find_files([str(tmp_path / "new" / "*.png"), str(copy)]))
    assert (found.new, found.moved) == (["copy"], [])


def test_a_renamed_slide_keeps_its_id(project: Project, images: Path):
    (images / "b.png").rename(images / "case 7.png")
    found = add_slides(project, find_files([str(images / "*.png")]))
    assert (found.new, found.moved) == ([], ["b"])
    project.slides.open_all()
    assert project.store.rounds.slides()[1].path.endswith("case 7.png")


def test_other_pixels_under_the_old_name_are_no_moved_slide(project: Project, images: Path, tmp_path: Path):
    images.rename(tmp_path / "new")
    write_image(tmp_path / "new" / "b.png", 64, 64, 99)
    with pytest.raises(InputError, match="slide 'b' has other pixels than before"):
        add_slides(project, find_files([str(tmp_path / "new" / "*.png")]))
    assert all("new" not in r.path for r in project.store.rounds.slides()), "all or none"


def run(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0


def test_the_commands_say_what_was_left_out_and_found(
    project: Project, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    images.rename(tmp_path / "new")
    cut(tmp_path / "new" / "cut.png", tmp_path / "new" / "a.png")
    command = ["import", str(project.folder), "--slides", str(tmp_path / "new" / "*.png")]
    run([*command, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["slides"], told["moved"]) == ([], ["a", "b"])
    assert "cut.png" in told["left_out"][0]
    (tmp_path / "new").rename(images)
    run([*command[:3], str(images / "*.png")])
    shown = capsys.readouterr()
    assert "Added 0 slides and 0 drawn tiles; left out: 1 file" in shown.out
    assert "Found 2 slides at another place: a, b" in shown.out
    assert "left out:" in shown.err
    assert "cut.png" in shown.err


def element(tag: tuple[int, int], kind: bytes, value: bytes, *, implicit: bool = False) -> bytes:
    """A DICOM data element, little endian."""
    value += b"\0" * (len(value) % 2)
    if implicit:
        return struct.pack("<HHI", *tag, len(value)) + value
    long = kind in {b"SQ", b"OB"}
    head = struct.pack("<HH2s", *tag, kind)
    return head + (struct.pack("<HI", 0, len(value)) if long else struct.pack("<H", len(value))) + value


def dicom(path: Path, series: str, *, implicit: bool = False, seed: int = 0) -> Path:
    """The head of a DICOM file; a sequence without length refers to another series."""
    syntax = b"1.2.840.10008.1.2" + (b"" if implicit else b".1")
    other = element((0x20, 0xE), b"UI", b"9.9.9", implicit=implicit)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + other + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    sequence = struct.pack("<HH", 8, 0x1115) + (b"" if implicit else b"SQ\0\0") + struct.pack("<I", 0xFFFFFFFF)
    sequence += item + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    body = element((2, 0x10), b"UI", syntax) + element((8, 0x60), b"CS", b"SM", implicit=implicit) + sequence
    body += element((0x20, 0xE), b"UI", series.encode(), implicit=implicit)
    path.write_bytes(bytes(128) + b"DICM" + body + np.random.default_rng(seed).bytes(500))
    return path


@pytest.mark.parametrize("ending", [".dcm", ".DCM", ""])
def test_the_files_of_a_dicom_slide_are_those_of_its_series(tmp_path: Path, ending: str):
    first = dicom(tmp_path / f"s1{ending}", "1.2.3")
    second = dicom(tmp_path / f"s2{ending}", "1.2.3", implicit=True, seed=1)
    assert (series_of(first), series_of(second)) == ("1.2.3", "1.2.3")
    before = fingerprint_files(_parts(first))
    dicom(tmp_path / f"other{ending}", "1.2.4", seed=2)
    (tmp_path / f"junk{ending}").write_bytes(bytes(128) + b"DICM" + b"slide" * 99)
    (tmp_path / f"text{ending}").write_text("no DICOM")
    (tmp_path / f"folder{ending}").mkdir()
    assert series_files(first) == [first, second]
    assert fingerprint_files(_parts(first)) == before
    dicom(tmp_path / f"s3{ending}", "1.2.3", seed=3)
    assert fingerprint_files(_parts(first)) != before, "a further file of the same slide"


def test_a_slide_of_several_files_is_added_once(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Images stand for what only OpenSlide opens.
    files = [write_image(tmp_path / f"{name}.png", 64, 64, seed) for name, seed in (("x1", 1), ("x2", 1), ("y", 2))]
    both = files[:2]
    monkeypatch.setattr("aczerots.project.slides.series_files", lambda p: both if p in both else [p])
    found = add_slides(project, files)
    assert (found.new, [e.what for e in found.left_out]) == (["x1", "y"], ["is of the same slide as x1.png"])
    found = add_slides(project, files[1:])
    assert found.new == ["x2"], "without the first one it is not known"


def test_a_slide_is_opened_when_it_is_asked_for(project: Project, monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []

    def counting(path: Path, *args: object, id: str, cache: object) -> ImageSlide:
        opened.append(id)
        return read_slide(path, *args, id=id, cache=cache)

    monkeypatch.setattr("aczerots.project.slides.read_slide", counting)
    assert project_folder.ProjectSlides(project.store.rounds.slides(), project.folder).get("none") is None
    assert (len(project.slides), opened) == (2, [])
    assert project.slides["b"].size == (64, 64)
    project.slides.open_all()
    assert sorted(opened) == ["a", "b"]


def table(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_each_slide_has_the_resolution_of_the_table(images: Path, tmp_path: Path):
    file = table(tmp_path / "slides.csv", "slide,patient,mpp\na,ann,0.25\nb,bob,\nz,,1\n")
    settings = make_settings(classes=CLASSES, mpp=0.5, slide_mpp=0.5, tile_size=32, patients=file)
    lines = Lines()
    init_project(tmp_path / "p", [str(images / "*.png")], settings, lines)
    assert lines.said[:-1] == [f"no slide has the name of a row with mpp in {file}: z"]
    with open_project(tmp_path / "p") as project:
        assert {s.id: s.mpp for s in project.store.rounds.slides()} == {"a": 0.25, "b": 0.5}
        assert {t.slide: t.window.width for t in project.store.rounds.tiles()} == {"a": 64, "b": 32}
        assert project.slides["a"].mpp == 0.25
        assert read_patients(Path(file)) == {"a": "ann", "b": "bob"}


def test_every_slide_without_a_resolution_is_named(images: Path, tmp_path: Path):
    write_image(images / "c.png", 64, 64, 3)
    file = table(tmp_path / "slides.csv", "slide,mpp\nb,0.5\n")
    settings = make_settings(classes=CLASSES, mpp=0.5, tile_size=32, patients=file)
    with pytest.raises(SettingsError, match=r"2 slides state no resolution: a, c\. .*--slide-mpp.*column mpp"):
        init_project(tmp_path / "p", [str(images / "*.png")], settings)
    assert not (tmp_path / "p").exists()
    # Slides that are read in parts need one in any case.
    import tifffile

    bare = tmp_path / "bare.tif"
    tifffile.imwrite(bare, np.full((512, 512, 3), (190, 90, 160), np.uint8), tile=(256, 256), photometric="rgb")
    with pytest.raises(SettingsError, match=r"a slide states no resolution: bare\."):
        init_project(tmp_path / "p", [str(bare), str(images / "*.png")], make_settings(classes=CLASSES))
    file = table(tmp_path / "slides.csv", "slide,mpp\nbare,0.5\n")
    init_project(tmp_path / "p", [str(bare)], make_settings(classes=CLASSES, patients=file))
    with open_project(tmp_path / "p") as project:
        assert project.slides["bare"].mpp == 0.5


@pytest.mark.parametrize("value", ["0,25", "a", "0", "-1", "nan", "inf", "353"])
def test_what_is_no_resolution_is_refused_with_its_line(tmp_path: Path, value: str):
    file = table(tmp_path / "slides.csv", f'slide,mpp\na,0.5\nb,"{value}"\n')
    with pytest.raises(InputError, match=rf"line 3: '{value}' is no resolution .*0.05 to 20"):
        read_slide_mpp(Path(file))
    with pytest.raises(InputError, match="slide 'a' has two resolutions"):
        read_slide_mpp(Path(table(tmp_path / "two.csv", "slide,mpp\na,0.5\na,0.25\n")))
    with pytest.raises(InputError, match="the column 'patient' is missing, and so is 'mpp'"):
        read_patients(Path(table(tmp_path / "none.csv", "slide,name\na,0.5\n")))


def test_another_resolution_than_the_projects_is_said(images: Path, tmp_path: Path):
    file = table(tmp_path / "slides.csv", "slide,mpp\na,0.25\n")
    settings = make_settings(classes=CLASSES, mpp=0.5, slide_mpp=0.5, tile_size=32, patients=file)
    init_project(tmp_path / "p", [str(images / "*.png")], settings)
    assert resolution_note(tmp_path / "p", ["new.png"], 0.5) is None
    assert "read at 0.5 (slide_mpp)" in str(resolution_note(tmp_path / "p", ["s3://x/new.png"], 0.25))
    assert "another resolution: a (0.25)" in str(resolution_note(tmp_path / "p", ["x/a.png", "b.png"], 0.5))


def test_many_slides_are_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for i in range(30):
        write_image(tmp_path / "many" / f"{i}.png", 64, 64, i)
    commits: list[float] = []
    finish = SharedTransaction.finish

    def counting(transaction: SharedTransaction) -> None:
        commits.append(1)
        finish(transaction)

    monkeypatch.setattr(SharedTransaction, "finish", counting)
    added = init_project(tmp_path / "p", [str(tmp_path / "many" / "*")], make_settings(classes=CLASSES))
    assert len(added.new) == 30
    assert len(commits) <= 3, "each waits for the disk"


@pytest.mark.slow
def test_what_has_to_start_quickly_loads_no_torch():
    modules = "aczerots.server.app, aczerots.server.serve, aczerots.cli.annotate_command, aczerots.project.regions"
    modules += ", aczerots.project.running, aczerots.project.status, aczerots.project.agreement"
    code = f"import sys, {modules}; print([m for m in ('torch', 'scipy') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_a_server_opens_slides_when_they_are_asked_for(project: Project, images: Path, tmp_path: Path):
    def nothing(*_: object) -> None:
        raise AssertionError("nobody asked")

    write_image(images / "b.png", 64, 64, 99)  # changed: noticed when it is shown
    served = ServedProject(project, nothing, nothing)
    assert [s.id for s in project_info(served, "ann", "1").slides] == ["a", "b"]
    assert tile_info(served, 4).slide == 1
    assert served.slide(0).size == (128, 96)
    with pytest.raises(InputError, match="not the one that was imported"):
        served.slide(1)
    images.rename(tmp_path / "new")
    with pytest.raises(InputError, match="the slide is missing"):
        ServedProject(project, nothing, nothing)
