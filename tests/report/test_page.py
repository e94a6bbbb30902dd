"""The page holds everything, asks nobody for anything, and escapes what it is given."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from aczerots.errors import InputError, SettingsError
from aczerots.report import write_report
from aczerots.report.pictures import CARDS_PER_ROUND
from tests.report.fake import write_fake_run

VOID = {"meta", "link", "img", "br", "wbr"}


class Reader(HTMLParser):
    """Collects tags, attributes and visible text; fails on tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "action", "data")]
        self.ids += [v or "" for k, v in attrs if k == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += " " + " ".join(data.split())


def read(path: Path) -> Reader:
    reader = Reader()
    page = path.read_text(encoding="utf-8")
    reader.feed(page)
    assert reader.open == []
    assert "script" not in reader.tags
    assert all(link.startswith(("data:", "#")) for link in reader.links)
    assert not re.search(r"url\((?!#)|@import", page)
    return reader


def test_one_run(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", examples=2)
    write_report([folder], tmp_path / "out" / "report.html")
    page = read(tmp_path / "out" / "report.html")
    last = (folder / "metrics.csv").read_text().splitlines()[-1].split(",")
    assert f"{float(last[6]):.3f} hIoU after round 5" in page.text.replace("  ", " ")
    for text in (
        "tumor-associated stroma",
        "unseen",
        "coverage:unseen",
        "all labels",
        "case_0",
        "torch",
        "1 min 35 s",
    ):
        assert text in page.text
    assert page.tags.count("img") == 2 * 4 + 5 * 6
    assert page.tags.count("svg") == 1 + 4


@pytest.mark.slow
def test_several_runs(tmp_path: Path) -> None:
    runs = [
        write_fake_run(tmp_path / f"{s}{i}", strategy=s, seed=i, rounds=3, examples=1, tiles=1)
        for s in ("aczerots", "random")
        for i in range(2)
    ]
    write_report(runs, tmp_path / "report.html")
    page = read(tmp_path / "report.html")
    assert "The reference is random · prozs" in page.text
    assert page.tags.count("img") == 4  # image, truth, one prediction per group
    assert page.text.count("luad random seed") == 2


def test_a_run_with_nothing_but_numbers(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", rounds=2, examples=0, full_label=False, complete=False)
    for name in ("chosen",):
        shutil.rmtree(folder / name)
    (folder / "selections.csv").unlink()
    lines = (folder / "metrics.csv").read_text().splitlines()
    empty = "0,0,0" + "," * (len(lines[0].split(",")) - 3)
    (folder / "metrics.csv").write_text("\n".join([lines[0], empty]))
    write_report([folder], tmp_path / "report.html")
    page = read(tmp_path / "report.html")
    assert "not finished" in page.text
    assert "img" not in page.tags


def test_long_rounds_are_cut_and_say_so(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", rounds=2, examples=0, tiles=CARDS_PER_ROUND + 3)
    write_report([folder], tmp_path / "report.html")
    page = read(tmp_path / "report.html")
    assert page.tags.count("img") == CARDS_PER_ROUND
    assert "and 3 more" in page.text


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", rounds=2, examples=0)
    evil = "<script>alert(1)</script>"
    for name in ("run.json", "metrics.csv"):
        text = (folder / name).read_text().replace("necrosis", evil)
        (folder / name).write_text(text)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "name": evil, "settings": {evil: evil}}))
    write_report([folder], tmp_path / "report.html")
    assert evil in read(tmp_path / "report.html").text


def test_a_broken_picture_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", rounds=2, examples=1)
    path = folder / "examples" / "case_0.truth.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError) as caught:
        write_report([folder], tmp_path / "report.html")
    assert caught.value.where == str(path)
    assert not (tmp_path / "report.html").exists()


def test_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        write_report([], tmp_path / "report.html")
