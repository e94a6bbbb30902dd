"""The output folder of a run: tables, pictures, model, report. Rebuilt from the database at any time."""

from __future__ import annotations

import csv
import io
import json
import math
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from aczerots.annotation.store.records import RoundState
from aczerots.annotation.store.store import ProjectStore
from aczerots.config import SimulateSettings
from aczerots.errors import StorageError
from aczerots.loop.pool import Pool
from aczerots.predict.segmenter import Segmenter
from aczerots.report import write_report
from aczerots.report.images import write_palette_png, write_png
from aczerots.simulation.evaluation import Evaluation
from aczerots.simulation.shared import OpenDataset
from aczerots.slides.base import Box
from aczerots.storage.csv_file import text_cell
from aczerots.storage.files import make_folder, write_bytes_atomic, write_text_atomic
from aczerots.taxonomy import Taxonomy
from aczerots.version import __version__

MODEL = "model.safetensors"
_EXAMPLES = 6
_LARGEST_EXAMPLE = 4_000_000
_THUMBNAIL = 96


class RunFolder:
    """Paths and writers of one output folder.

    Args:
        path: The folder; made if missing.

    Raises:
        StorageError: It cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path)

    def open_store(self) -> ProjectStore:
        """The database of the run.

        Raises:
            StorageError: It cannot be opened, or an older version began the run.
        """
        file = self.path / "run.db"
        if file.exists() and _tables(file) >= {"annotations"}:
            fix = "Use a new --out; tables, pictures and report of this one stay as they are"
            raise StorageError(
                "an older version began this run, and this one cannot go on with it", where=file, fix=fix
            )
        return ProjectStore(file)

    def rows(self, store: ProjectStore, taxonomy: Taxonomy) -> list[dict[str, Any]]:
        """Rows of ``metrics.csv``."""
        names = [f"iou:{n}" for n in taxonomy.names]
        head = ["labelled_tiles", "labelled_fraction", "pacc", "miou_seen", "miou_unseen", "hiou"]
        done = [(r.number, r.metrics or {}) for r in store.rounds.all() if r.state is RoundState.EVALUATED]
        return [{"round": number} | {k: row[k] for k in head + names} for number, row in done]

    def write_tables(self, store: ProjectStore, pool: Pool) -> None:
        """``metrics.csv`` and ``selections.csv``."""
        write_text_atomic(self.path / "metrics.csv", _csv(self.rows(store, pool.taxonomy)))
        picks = store.rounds.picks()
        parts = sorted({k for p in picks for k in p.components})
        rows = [
            {"tile": pool.tiles[p.tile].id, "round": p.round, "rank": p.rank, "score": p.score}
            | {k: p.components.get(k, math.nan) for k in parts}
            for p in picks
        ]
        write_text_atomic(self.path / "selections.csv", _csv(rows, ["tile", "round", "rank", "score", *parts]))

    def write_pictures(self, store: ProjectStore, opened: OpenDataset, segmenter: Segmenter) -> None:
        """Example pictures and thumbnails of the chosen tiles."""
        self._write_examples(opened, segmenter)
        self._write_chosen(store, opened.pool)

    def write_record(self, store: ProjectStore, opened: OpenDataset, settings: SimulateSettings) -> None:
        """``run.json``; its presence says that the run is complete."""
        text = json.dumps(self._facts(store, opened, settings), indent=1)
        write_text_atomic(self.path / "run.json", text + "\n")

    def write_report(self) -> None:
        """``report.html`` from everything else."""
        write_report([self.path], self.path / "report.html")

    def _facts(self, store: ProjectStore, opened: OpenDataset, settings: SimulateSettings) -> dict[str, Any]:
        """Content of ``run.json``."""
        dataset, recall = opened.evaluation.dataset, store.rounds.recall
        seconds: dict[str, float] = {"open": (recall("opening") or {}).get("seconds", 0.0)}
        for one in store.rounds.all():
            for stage, value in one.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + value
        versions = {"aczerots": __version__, "python": platform.python_version(), "torch": torch.__version__}
        full = recall("full_label")
        return {
            "name": f"{dataset.name} {settings.strategy} seed {settings.seed}",
            "dataset": dataset.name,
            "strategy": settings.strategy,
            "preset": settings.preset,
            "seed": settings.seed,
            "settings": settings.model_dump(mode="json"),
            "taxonomy": opened.pool.taxonomy.model_dump(mode="json"),
            "seconds": {k: round(v, 3) for k, v in seconds.items()},
            "versions": versions | {"numpy": np.__version__},
            "threads": torch.get_num_threads(),
            "hashes": recall("hashes") or {},
            "full_label": None if full is None else {"round": settings.rounds} | full,
            "complete": True,
        }

    def _write_examples(self, opened: OpenDataset, segmenter: Segmenter) -> None:
        """Image, truth, prediction and uncertainty of a few test slides, richest in classes first."""
        folder = self.path / "examples"
        folder.mkdir(exist_ok=True)
        taxonomy = opened.pool.taxonomy
        for slide_id in _examples(opened.evaluation, taxonomy):
            sample = opened.evaluation.dataset[slide_id]
            width, height = sample.slide.size
            whole = Box(0, 0, width, height)
            done = segmenter.segment(sample.slide, features=opened.evaluation.windows)
            stem = folder / _safe(slide_id)
            image = sample.slide.read(whole, (width, height))
            write_png(stem.with_name(stem.name + ".image.png"), image)
            truth = sample.truth.read(whole, (width, height))
            write_palette_png(stem.with_name(stem.name + ".truth.png"), truth, taxonomy)
            write_palette_png(stem.with_name(stem.name + ".prediction.png"), done.labels, taxonomy)
            grey = np.round(done.uncertainty * 255).astype(np.uint8)
            write_png(stem.with_name(stem.name + ".uncertainty.png"), grey)

    def _write_chosen(self, store: ProjectStore, pool: Pool) -> None:
        """Thumbnails of the chosen tiles."""
        folder = self.path / "chosen"
        folder.mkdir(exist_ok=True)
        for pick in store.rounds.picks():
            path = folder / f"{pick.round}-{pick.rank}.jpg"
            if not path.exists():
                tile = pool.tiles[pick.tile]
                scale = _THUMBNAIL / max(tile.box.width, tile.box.height)
                size = max(1, round(tile.box.width * scale)), max(1, round(tile.box.height * scale))
                pixels = pool.slides[tile.slide].read(tile.box, size)
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
                write_bytes_atomic(path, buffer.getvalue())


def _examples(evaluation: Evaluation, taxonomy: Taxonomy) -> list[str]:
    """Ids of a few test slides: small ones, rich in classes, unseen ones counting double."""
    ranked = []
    for order, sample in enumerate(evaluation.samples):
        width, height = sample.slide.size
        if width * height > _LARGEST_EXAMPLE:
            continue
        found = np.bincount(sample.truth.read(Box(0, 0, width, height), (width, height)).ravel(), minlength=256)
        present = found[: len(taxonomy)] > 0.02 * width * height
        ranked.append((-int((present * (1 + ~taxonomy.seen)).sum()), order, sample.slide.id))
    return [slide_id for _, _, slide_id in sorted(ranked)[:_EXAMPLES]]


def _tables(file: Path) -> set[str]:
    """Names of the tables of a SQLite file; none if it is no such file."""
    try:
        with closing(sqlite3.connect(file)) as connection:
            return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error:
        return set()


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """CSV text; NaN becomes an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = list(columns or (rows[0] if rows else ()))
    writer.writerow([text_cell(name) for name in names])
    for row in rows:
        writer.writerow([_cell(row[k]) for k in names])
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    if isinstance(value, str):
        return text_cell(value)
    return "" if value is None else value


def _safe(slide_id: str) -> str:
    """The id as a file name."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in slide_id)
