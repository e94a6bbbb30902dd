"""The Python examples of CONTRIBUTING.md, installed as packages of their own that announce an entry point."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"


def example(heading: str) -> str:
    """Source of the first Python block below a heading."""
    section = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    block = re.search(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert block is not None, f"CONTRIBUTING.md has no Python example below '{heading}'"
    return block[1]


def install_example(heading: str, group: str, entry: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an example importable and announce one of its names.

    Args:
        heading: Of the section of CONTRIBUTING.md.
        group: Entry point group.
        entry: ``name = attribute``: how it is found, and which name of the example is meant.
        folder: An empty folder.
        monkeypatch: Takes it back.
    """
    name, _, attribute = (part.strip() for part in entry.partition("="))
    module = f"contributed_{name.replace('-', '_')}"
    (folder / f"{module}.py").write_text(example(heading), encoding="utf-8")
    facts = folder / f"{module}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{attribute}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, module, raising=False)
