"""What the command line shows: progress on standard error, results on standard output.

Names of classes and slides are text: nothing in them is markup, an emoji or a command to the terminal.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from aczerots.errors import printable

if TYPE_CHECKING:
    from rich.progress import Progress

    from aczerots.cli.doctor import Check

_PATIENCE = 2.0


class ConsoleProgress:
    """Lines and bars on standard error; a bar appears when a stage takes longer than two seconds."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._stage = ""
        self._since = 0.0

    def say(self, text: str) -> None:
        """Print a line."""
        self._close()
        self.console.print(printable(text), markup=False, emoji=False, soft_wrap=True)

    def step(self, stage: str, done: int, total: int) -> None:
        """Move the bar of a stage; opens it once the stage takes long, and closes it at the end."""
        if stage != self._stage:
            self._close()
            self._stage, self._since = stage, time.monotonic()
        if self._bar is None and time.monotonic() - self._since > _PATIENCE and self.console.is_terminal:
            self._open(total)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        if done >= total:
            self._close()

    def _open(self, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self.console, transient=True)
        self._bar.start()
        self._bar.add_task(printable(self._stage), total=total)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._stage = None, ""


def show_rows(rows: Sequence[Mapping[str, Any]], title: str, classes: Collection[str] = ()) -> None:
    """A table on standard output; the keys of the first row are its head.

    Args:
        rows: Rows with equal keys.
        title: Stands above the table.
        classes: Keys that are names of classes and are shown as they are; so is what follows ``iou:``.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title)), title_justify="left")
    for name in rows[0]:
        head = name if name in classes else head_of(name)
        table.add_column(Text(printable(head)), justify="right", overflow="fold")
    for row in rows:
        table.add_row(*[Text(printable(_text(v))) for v in row.values()])
    # Without a terminal the table takes the width it needs: it will be read from a file.
    Console(width=None if sys.stdout.isatty() else 60 + 22 * len(rows[0])).print(table)


def head_of(name: str) -> str:
    """The name of a measure as people read it."""
    return name if name.startswith("iou:") else name.replace("_", " ")


_MARKS = {"ok": "ok", "info": "--", "absent": "no", "warning": "!!", "broken": "XX"}
_STYLES = {"ok": "green", "info": "blue", "absent": "yellow", "warning": "bold yellow", "broken": "bold red"}


def show_checks(checks: Sequence[Check]) -> None:
    """What the doctor found, a block per section, and then what to do."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    for section, group in groupby(checks, key=lambda c: c.section):
        table = Table(title=section.capitalize(), title_justify="left", title_style="bold", box=None, show_header=False)
        table.add_column(width=4, justify="right")
        table.add_column(style="bold", width=18, overflow="fold")
        table.add_column(overflow="fold")
        for check in group:
            table.add_row(Text(_MARKS[check.status], _STYLES[check.status]), Text(check.name), Text(check.detail))
        console.print(table)
        console.print()
    fixes = [c.fix for c in checks if c.fix is not None]
    console.print(Text("What to do" if fixes else "Nothing to do: everything is there", "bold"))
    for number, fix in enumerate(fixes, 1):
        console.print(Text(f"  {number}. {fix}"), soft_wrap=True)


def count_of(number: int, one: str, several: str | None = None) -> str:
    """A number with its noun; the plural has an s unless ``several`` says otherwise."""
    return f"{number} {one if number == 1 else several or one + 's'}"


def show_json(value: object) -> None:
    """One JSON document on standard output; undefined numbers are null."""
    sys.stdout.write(json.dumps(_plain(value), indent=1) + "\n")


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """The value with NaN as None, all the way down."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
