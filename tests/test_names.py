"""Names as people give them: brackets, accents in two forms, links, bytes that are no text, and narrow outputs."""

import io
import os
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aczerots.annotation.formats.qupath_classes import locate_class
from aczerots.cli.app import main
from aczerots.cli.console import show_rows
from aczerots.datasets.folder import folder_dataset
from aczerots.errors import InputError
from aczerots.names import match_names
from aczerots.project.slides import find_files
from aczerots.simulation.run_folder import _file_name
from aczerots.storage.files import write_text_atomic
from aczerots.taxonomy import Taxonomy, TissueClass


def form(kind: str, name: str) -> str:
    return unicodedata.normalize(kind, name)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def dataset(root: Path, names: list[str], rows: list[str], images: str = "NFD", masks: str = "NFC") -> Path:
    for folder, kind in (("images", images), ("masks", masks)):
        (root / folder).mkdir(parents=True)
        for name in names:
            pixels = np.zeros((8, 8, 3) if folder == "images" else (8, 8), np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{form(kind, name)}.png")
    (root / "dataset.yaml").write_text("name: x\nclasses: [{name: tumor}]\n")
    if rows:
        (root / "split.csv").write_text("\n".join(["image,split", *rows]) + "\n", encoding="utf-8")
    return root


def test_names_match_exactly_or_by_their_look():
    nfc, nfd = form("NFC", "Fälle"), form("NFD", "Fälle")
    assert match_names([nfc, "x"], [nfd, "y"]) == {nfc: nfd}
    assert match_names([nfc, nfd], [nfc, nfd]) == {nfc: nfc, nfd: nfd}
    other = "q\u0323\u0307"
    assert match_names(["q\u0307\u0323"], [other]) == {"q\u0307\u0323": other}


@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_images_masks_and_split_may_write_accents_in_either_form(tmp_path: Path, written: str):
    names = ["Gewebe für Fall 1", "é", "Å 3"]
    rows = [f"{form(written, n)},{'test' if n == 'é' else 'train'}" for n in names]
    found = folder_dataset(dataset(tmp_path / "d", names, rows))
    assert {s.slide.id: s.split for s in found.samples} == {
        form("NFD", n): "test" if n == "é" else "train" for n in names
    }


def test_split_may_name_the_files_with_their_ending(tmp_path: Path):
    found = folder_dataset(dataset(tmp_path / "d", ["a", "b.c"], ["a.png,train", "b.c,test"]))
    assert [(s.slide.id, s.split) for s in found.samples] == [("a", "train"), ("b.c", "test")]


def test_a_file_name_that_is_no_text_is_refused_only_where_it_is_used(tmp_path: Path):
    root = dataset(tmp_path / "d", ["a", "b"], ["a,train", "b,test"])
    for folder in ("images", "masks"):
        (root / folder / "a.png").rename(root / folder / os.fsdecode(b"caf\xe9.png"))
    (root / "split.csv").write_text("image,split\nb,test\n")
    assert [s.slide.id for s in folder_dataset(root).samples] == ["b"]
    (root / "split.csv").unlink()
    with pytest.raises(InputError, match=r"'caf\\udce9': the name of a file is no UTF-8 text\. Rename the file"):
        folder_dataset(root)


def test_class_names_match_by_their_look():
    taxonomy = Taxonomy(classes=(TissueClass(name="x"), TissueClass(name=form("NFD", "Drüse"))))
    assert taxonomy.index(form("NFC", "Drüse")) == 1
    assert taxonomy.with_unseen([form("NFC", "Drüse")]).seen.tolist() == [True, False]
    assert locate_class(form("NFC", "Drüse"), taxonomy, "feature 1") == 1


@pytest.mark.parametrize(
    "pattern", ["[2023] s/case [1].png", "[2023] s/* [[]1].png", "*/case [1].png", "**/case [[]1].png"]
)
def test_brackets_are_part_of_names_that_are_there(tmp_path: Path, pattern: str):
    wanted = touch(tmp_path / "[2023] s" / "case [1].png")
    touch(tmp_path / "[2023] s" / "case 1.png")
    assert find_files([str(tmp_path / pattern)]) == [wanted]


def test_brackets_remain_patterns_where_no_such_name_is_there(tmp_path: Path):
    files = [touch(tmp_path / "[a]" / f"s{i}.png") for i in range(3)]
    assert find_files([str(tmp_path / "[a]" / "s[12].png")]) == files[1:]
    assert find_files([str(tmp_path / "[[]a]" / "*.png")]) == files
    assert find_files([str(tmp_path / "[a]" / "*.png"), str(files[0])]) == files


def test_a_link_keeps_its_name_and_counts_once(tmp_path: Path):
    blobs = [touch(tmp_path / "store" / f"blob{i}.png") for i in range(2)]
    (tmp_path / "links").mkdir()
    for i, blob in enumerate(blobs):
        (tmp_path / "links" / f"case{i}.png").symlink_to(blob)
    (tmp_path / "links" / "gone.png").symlink_to(tmp_path / "nothing.png")
    links = [tmp_path / "links" / f"case{i}.png" for i in range(2)]
    assert find_files([str(tmp_path / "links" / "*.png")]) == links
    assert find_files([str(tmp_path / "*" / "*.png")]) == blobs
    (tmp_path / "folder").symlink_to(tmp_path / "links")
    assert find_files([str(tmp_path / "folder" / "*.png"), str(links[0])]) == links


def test_names_of_examples_differ_and_fit_on_a_disk():
    taken: set[str] = set()
    names = [_file_name(n, taken) for n in ("a b", "a_b", "a.b", "é" * 125, "é" * 126)]
    assert names == ["a_b", "a_b_2", "a_b_3", "é" * 75, "é" * 75 + "_2"]


def test_text_with_a_name_that_is_no_text_is_written(tmp_path: Path):
    write_text_atomic(tmp_path / "t.csv", "caf\udce9,ü\n")
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "caf\\udce9,ü\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_output_that_cannot_hold_a_name_shows_an_escape(monkeypatch: pytest.MonkeyPatch, encoding: str):
    buffer = io.BytesIO()
    out, err = io.TextIOWrapper(buffer, encoding=encoding), io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(SystemExit) as stop:
        main(["describe", "--show-prompt", "腺 Drüse caf\udce9"])
    assert stop.value.code == 0
    show_rows([{"name": "腺 Drüse caf\udce9"}], "腺")
    out.flush()
    assert b"\\u817a Dr" in buffer.getvalue()
    assert b"caf\\udce9" in buffer.getvalue()


def test_output_that_fails_is_one_error(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    with Path("/dev/null").open("w", encoding="utf-8") as after, Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as stop:
            main(["describe", "necrosis", "--json"])
        assert stop.value.code == 1
        assert "error: " in capfd.readouterr().err
        os.dup2(after.fileno(), full.fileno())
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as stop:
        main(["describe", "necrosis"])
    assert stop.value.code == 0
