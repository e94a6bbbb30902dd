"""The grammar of backbone locators: ``KIND:SOURCE[@REVISION][#METHOD]``, parsed here and nowhere else.

``METHOD`` is one of the dense methods of dense.py, what to do with large images (windows.py), or both with a comma
between: ``hf:vinid/plip#qq``, ``hf:vinid/plip@main#qq+kk,whole``. The defaults are ``value`` and ``windows``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aczerots.backbones.dense import METHODS, Method
from aczerots.backbones.windows import LARGE, Large
from aczerots.errors import SettingsError

HUB = "hf-hub:"
"""May stand before a hub id."""


@dataclass(frozen=True)
class Locator:
    """What a user wrote, in parts.

    Attributes:
        text: All of it.
        kind: Family of loaders, for example ``hf``.
        source: Folder or name; empty for ``embedded``.
        revision: Branch, tag or commit; None takes the newest.
        method: Dense method; None takes ``value``.
        large: What to do with images larger than the input; None takes ``windows``.
    """

    text: str
    kind: str
    source: str = ""
    revision: str | None = None
    method: Method | None = None
    large: Large | None = None

    @property
    def is_folder(self) -> bool:
        """Whether the source is written as, or is, a path of this machine and not a name on a hub."""
        return self.source.startswith((".", "/", "~")) or Path(self.source).exists()

    @property
    def name(self) -> str:
        """The source without the ``hf-hub:`` that open_clip and timm write before a hub id."""
        return self.source.removeprefix(HUB)

    @property
    def is_library_name(self) -> bool:
        """Whether the source can only be a name that the library of its kind knows: no folder and no hub id."""
        return not self.is_folder and not self.source.startswith(HUB) and "/" not in self.source

    @property
    def where(self) -> str:
        """Kind, source and revision, for messages."""
        return f"{self.kind}:{self.source}" + (f"@{self.revision}" if self.revision else "")


def parse_locator(text: str) -> Locator:
    """Parts of a locator; a ``#`` or ``@`` inside a path that exists belongs to the path."""
    kind, _, rest = text.partition(":")
    method: Method | None = None
    large: Large | None = None
    if "#" in rest and not _exists(rest):
        rest, _, wish = rest.rpartition("#")
        method, large = _parse_wish(wish, text)
    name, _, revision = rest.partition("@")
    if _exists(rest) or rest.startswith((".", "/", "~")):
        name, revision = rest, ""
    return Locator(text, kind, name, revision or None, method, large)


def _parse_wish(wish: str, text: str) -> tuple[Method | None, Large | None]:
    """Dense method and treatment of large images from what stands behind ``#``; refuses anything else."""
    wishes = wish.split(",")
    methods, larges = [m for m in METHODS if m in wishes], [x for x in LARGE if x in wishes]
    unknown = [w for w in wishes if w not in (*METHODS, *LARGE)]
    if unknown:
        fix = f"Dense methods are {', '.join(METHODS)}; large images go by {' or '.join(LARGE)}"
        raise SettingsError(f"unknown method '{unknown[0]}'", where=text, fix=fix)
    if len(wishes) > len(methods) + len(larges) or len(methods) > 1 or len(larges) > 1:
        raise SettingsError("more than one method behind '#'", where=text, fix="Write one, as in #qq or #qq,whole")
    return next(iter(methods), None), next(iter(larges), None)


def _exists(path: str) -> bool:
    return bool(path) and Path(path).expanduser().exists()
