"""The tidy table of an experiment: one row per run and round."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aczerots.report.runs import Run, read_run
from aczerots.simulation.experiment.planned import PlannedRun
from aczerots.storage.csv_file import text_cell
from aczerots.storage.files import write_bytes_atomic, write_text_atomic

Row = dict[str, Any]


@dataclass(frozen=True)
class FinishedRun:
    """A planned run and what its folder holds."""

    planned: PlannedRun
    run: Run


def finished(planned: PlannedRun, out: Path) -> FinishedRun | None:
    """A run that has all its rounds, else None.

    Args:
        planned: The run.
        out: Folder of the experiment.

    Raises:
        InputError: The run folder is damaged.
    """
    folder = out / planned.folder
    if not (folder / "run.json").exists():
        return None
    run = read_run(folder)
    asked = run.record.settings.get("rounds", 0)
    enough = isinstance(asked, int) and asked >= planned.settings.rounds
    return FinishedRun(planned, run) if run.record.complete and enough else None


def rows_of(done: FinishedRun) -> list[Row]:
    """Rows of one run, rounds ascending; undefined scores are None."""
    s, run = done.planned.settings, done.run
    head: Row = {"dataset": done.planned.dataset, "unseen": " + ".join(s.unseen), "strategy": s.strategy}
    head["without"] = " + ".join(s.without)
    same = ("preset", "text", "backbone", "tile_size", "initial", "budget", "first", "seed")
    head |= {name: getattr(s, name) for name in same}
    scores = ("round", "labelled_tiles", "labelled_fraction", "pacc", "miou_seen", "miou_unseen", "hiou")
    tail: Row = {
        "full_label_hiou": run.full_hiou,
        "backbone_hash": run.record.hashes.get("backbone", ""),
        "run": done.planned.folder.as_posix(),
    }
    return [
        head | {name: getattr(r, name) for name in scores} | {"iou": json.dumps(dict(r.iou))} | tail
        for r in run.rounds
        if r.round <= s.rounds
    ]


def write_table(rows: Sequence[Mapping[str, Any]], out: Path) -> list[Path]:
    """Write ``results.csv``, and ``results.parquet`` where pyarrow is installed (extra ``experiment``).

    Args:
        rows: Rows with equal keys, at least one.
        out: Folder.

    Returns:
        What was written.

    Raises:
        StorageError: A file cannot be written.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: text_cell(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows)
    paths = [out / "results.csv"]
    write_text_atomic(paths[0], buffer.getvalue())
    if find_spec("pyarrow") is not None:
        import pyarrow as pa
        from pyarrow import parquet

        sink = io.BytesIO()
        parquet.write_table(pa.Table.from_pylist([dict(r) for r in rows]), sink)
        paths.append(out / "results.parquet")
        write_bytes_atomic(paths[1], sink.getvalue())
    return paths
