"""The documents hold: examples run, and every command line that they show exists with its options.

Python is run when the line before its fence is ``<!-- test: run -->``, else it must at least compile. Every
``aczerots`` line is parsed by the real command line, those of the README are run. Every ``make`` target must be in the
Makefile.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image
from typer.exceptions import TyperException

from aczerots.annotation.store.records import AnswerKind, NewAnswer
from aczerots.cli.app import app, main
from aczerots.datasets.locate import locate_dataset
from aczerots.project.folder import open_project
from aczerots.slides.base import Box
from aczerots.taxonomy import IGNORE
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"(?P<run><!-- test: run -->\n+)?^```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL
)
INLINE = re.compile(r"`((?:aczerots|make) [^`\n]+)`")
SHELL = {"sh", "bash", "shell", "console"}


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, whether it is to be run, its text."""

    where: str
    language: str
    run: bool
    text: str


@dataclass(frozen=True)
class Line:
    """A command line in a document; ``whole`` lines can be run as they are, others are mentions in the text."""

    where: str
    text: str
    whole: bool


def blocks(document: str, name: str) -> Iterator[Block]:
    """Fenced blocks in order."""
    for match in FENCE.finditer(document):
        line = document.count("\n", 0, match.start("language")) + 1
        yield Block(f"{name}:{line}", match["language"], match["run"] is not None, match["text"])


def commands(document: str, name: str) -> Iterator[Line]:
    """Every ``aczerots`` and ``make`` line, in blocks and in the text."""
    for block in blocks(document, name):
        if block.language in SHELL:
            for text in block.text.replace("\\\n", " ").splitlines():
                bare = text.strip().removeprefix("$ ")
                if bare.startswith(("aczerots ", "make ")):
                    yield Line(block.where, bare, whole=True)
    text = FENCE.sub("", document)
    for match in INLINE.finditer(text):
        yield Line(name, match[1], whole=False)


def all_blocks() -> list[Block]:
    return [b for path in DOCUMENTS for b in blocks(path.read_text(encoding="utf-8"), path.name)]


def all_commands() -> list[Line]:
    return [c for path in DOCUMENTS for c in commands(path.read_text(encoding="utf-8"), path.name)]


def check_make(words: list[str], makefile: str) -> str | None:
    """What is wrong with a ``make`` line, None if nothing is."""
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    wrong = [word for word in words if "=" not in word and word not in targets]
    return f"no target {wrong[0]}" if wrong else None


def check_aczerots(words: list[str], whole: bool) -> str | None:
    """What is wrong with an ``aczerots`` line, None if nothing is."""
    root: Any = typer.main.get_command(app)
    if not words or words[0].startswith("-"):
        known = {option for parameter in root.params for option in parameter.opts} | {"--help"}
        wrong = [word for word in words if word not in known]
        return f"no option {wrong[0]}" if wrong else None
    if words[0] not in root.commands:
        return f"no command {words[0]}"
    command = root.commands[words[0]]
    if whole:
        try:
            command.make_context(words[0], words[1:])
        except TyperException as error:
            return str(error.format_message())
        return None
    known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    wrong = [w for w in words[1:] if w.startswith("-") and w.split("=")[0] not in known]
    return f"{words[0]} has no option {wrong[0]}" if wrong else None


def check(line: Line) -> str | None:
    """What is wrong with a command line, None if nothing is."""
    program, *words = shlex.split(line.text, comments=True)
    if program == "make":
        return check_make(words, (ROOT / "Makefile").read_text(encoding="utf-8"))
    return check_aczerots(words, line.whole)


@pytest.mark.slow
@pytest.mark.parametrize("block", [b for b in all_blocks() if b.language == "python"], ids=lambda b: b.where)
def test_python_examples(block: Block, tmp_path: Path) -> None:
    compile(block.text, block.where, "exec")
    if block.run:
        script = tmp_path / "example.py"
        script.write_text(block.text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", all_commands(), ids=lambda c: f"{c.where}: {c.text}")
def test_command_lines_exist(line: Line) -> None:
    assert check(line) is None


QUICK = {"simulate": ["--rounds", "1"], "experiment": ["--seeds", "1", "--strategy", "random", "--jobs", "1"]}
"""Options that are added to the commands of the README, so that they do not take minutes."""


def run(line: Line) -> None:
    """Run a command line in this folder as a user would."""
    program, name, *words = shlex.split(line.text, comments=True)
    assert program == "aczerots", "make is not run inside the tests"
    with pytest.raises(SystemExit) as stop:
        main([name, *words, *QUICK.get(name, ())])
    assert not stop.value.code, f"{line.where}: {line.text}"


def test_a_failing_command_line_is_seen() -> None:
    with pytest.raises(AssertionError, match="no such run"):
        run(Line("made up", "aczerots report 'no such run'", whole=True))


def labelled_images(folder: Path) -> None:
    """``mydata`` and ``otherdata`` as the README describes them, ``scans`` with the images, and ``mine.toml``."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    files = {block.language: block.text for block in blocks(text, "README.md")}
    (folder / "scans").mkdir()
    for name in ("mydata", "otherdata"):
        for part in ("images", "masks"):
            (folder / name / part).mkdir(parents=True)
        (folder / name / "dataset.yaml").write_text(files["yaml"].replace("name: mydata", f"name: {name}"))
        rows = ["image,split", *(f"case{i},{'test' if i in {2, 5} else 'train'}" for i in range(6))]
        (folder / name / "split.csv").write_text("\n".join(rows))
    for i, sample in enumerate(locate_dataset("phantom:6,size=128,seed=5").samples):
        box = Box(0, 0, 128, 128)
        image, mask = (Image.fromarray(part.read(box, (128, 128))) for part in (sample.slide, sample.truth))
        image.save(folder / "scans" / f"case{i}.png")
        for name in ("mydata", "otherdata"):
            image.save(folder / name / "images" / f"case{i}.png")
            mask.point(lambda label: label % 4).save(folder / name / "masks" / f"case{i}.png")
    (folder / "mine.toml").write_text(files["toml"].replace("rounds = 6", "rounds = 1"))


def annotate(project: Path, arguments: list[str]) -> None:
    """Serve the page as the command line does, answer for every tile of the round, and stop the server."""
    command = [sys.executable, "-m", "aczerots.cli.app", *arguments, "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=project.parent, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline()
            with open_project(project) as opened:
                tiles = opened.store.rounds.tiles()
                for pick in opened.store.rounds.picks(1):
                    mask = np.full((tiles[pick.tile].size,) * 2, IGNORE, np.uint8)
                    mask[tiles[pick.tile].inner] = pick.tile % 2
                    opened.store.answers.add(NewAnswer(pick.tile, 1, "ann", "page", AnswerKind.DRAWN, 0, mask))
        finally:
            server.terminate()


@pytest.mark.slow
@pytest.mark.usefixtures("short_fits")
def test_every_command_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled_images(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACZEROTS_CACHE", str(tmp_path / "cache"))
    small = {"dataset": "phantom:4,size=64", "rounds": 1, "tile_size": 32}
    monkeypatch.setattr("aczerots.cli.run_commands.DEMO", small)
    for line in commands((ROOT / "README.md").read_text(encoding="utf-8"), "README.md"):
        program, *words = shlex.split(line.text)
        if words[0] == "annotate":
            annotate(tmp_path / words[1], words)
        elif program != "make":
            run(line)
    for output in ("demo/report.html", "comparison.html", "runs/mine/index.html", "lab/models/round-1.safetensors"):
        assert (tmp_path / output).exists(), output
    for output in ("runs/mydata/metrics.csv", "lab/report.html", "predictions/areas.csv", "descriptions.yaml"):
        assert (tmp_path / output).exists(), output


def test_the_documents_have_examples_and_commands() -> None:
    assert sum(b.run for b in all_blocks()) >= 3
    assert {shlex.split(c.text)[1] for c in all_commands()} >= {"demo", "test", "simulate", "predict", "report"}


@pytest.mark.parametrize(
    "text",
    [
        "make nonsense",
        "aczerots nonsense",
        "aczerots --nonsense",
        "aczerots simulate phantom:3 --out x --nonsense 1",
        "aczerots simulate phantom:3",
        "aczerots predict --out x",
    ],
)
def test_the_check_sees_a_wrong_line(text: str) -> None:
    document = f"Text\n\n```sh\n$ {text}\n```\n"
    (line,) = commands(document, "made up")
    assert check(line) is not None


def test_the_check_reads_the_text_too() -> None:
    (line,) = commands("Use `aczerots report RUN --nonsense` for it.", "made up")
    assert check(line) == "report has no option --nonsense"
