"""The documents hold: examples run, and every command line that they show exists with its options.

A block is run when the line before its fence is ``<!-- test: run -->``. Python that is not run must at least
compile. Every ``aczerots`` line is parsed by the real command line, every ``make`` target must be in the Makefile.
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

import pytest
import typer.main
from typer.exceptions import TyperException

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
    run: bool


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
                    yield Line(block.where, bare, whole=True, run=block.run)
    text = FENCE.sub("", document)
    for match in INLINE.finditer(text):
        yield Line(name, match[1], whole=False, run=False)


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
    from aczerots.cli.app import app

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


@pytest.mark.parametrize("block", [b for b in all_blocks() if b.language == "python"], ids=lambda b: b.where)
def test_python_examples(block: Block, tmp_path: Path) -> None:
    compile(block.text, block.where, "exec")
    if block.run:
        script = tmp_path / "example.py"
        script.write_text(block.text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", all_commands(), ids=lambda c: f"{c.where}: {c.text}")
def test_command_lines_exist(line: Line) -> None:
    assert check(line) is None


def run(line: Line, folder: Path) -> None:
    """Run a command line in a folder as a user would."""
    words = shlex.split(line.text, comments=True)
    assert words[0] == "aczerots", "make is not run inside the tests"
    code = "import sys; from aczerots.cli.app import main; main(sys.argv[1:])"
    call = [sys.executable, "-c", code, *words[1:]]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"{line.where}: {line.text}\n{done.stderr}"


def test_tagged_command_lines_run_one_after_the_other(tmp_path: Path) -> None:
    for line in all_commands():
        if line.run:
            run(line, tmp_path)


def test_a_failing_command_line_is_seen(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no such run"):
        run(Line("made up", "aczerots report 'no such run'", whole=True, run=True), tmp_path)


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
