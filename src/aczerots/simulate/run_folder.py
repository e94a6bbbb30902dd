"""The output folder of a run: tables, pictures, model, report. Rebuilt from the database at any time."""

from __future__ import annotations

import csv
import io
import json
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from aczerots import __version__
from aczerots.annotation.run_store import Store
from aczerots.config import SimulateSettings
from aczerots.loop.workbench import Workbench
from aczerots.predict.segmenter import Canvas, tile_probabilities
from aczerots.prozs.model import ProZS
from aczerots.report import write_report
from aczerots.report.images import write_palette_png, write_png
from aczerots.slides.base import Box
from aczerots.storage.files import make_folder, write_bytes_atomic, write_text_atomic

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
        self.model = path / "model.safetensors"
        make_folder(path)

    def open_store(self) -> Store:
        """The database of the run."""
        return Store(self.path / "run.db")

    def rows(self, store: Store, bench: Workbench) -> list[dict[str, Any]]:
        """Rows of ``metrics.csv``."""
        names = [f"iou:{n}" for n in bench.taxonomy.names]
        head = ["labelled_tiles", "labelled_fraction", "pacc", "miou_seen", "miou_unseen", "hiou"]
        return [{"round": number} | {k: row[k] for k in head + names} for number, row, _ in store.results()]

    def write_tables(self, store: Store, bench: Workbench) -> None:
        """``metrics.csv`` and ``selections.csv``."""
        write_text_atomic(self.path / "metrics.csv", _csv(self.rows(store, bench)))
        picks = store.picks()
        parts = sorted({k for p in picks for k in p.components})
        rows = [
            {"tile": bench.pool.tiles[p.tile].id, "round": p.round, "rank": p.rank, "score": p.score}
            | {k: p.components.get(k, math.nan) for k in parts}
            for p in picks
        ]
        write_text_atomic(self.path / "selections.csv", _csv(rows, ["tile", "round", "rank", "score", *parts]))

    def write_pictures(self, store: Store, bench: Workbench, model: ProZS) -> None:
        """Example pictures and thumbnails of the chosen tiles."""
        self._write_examples(bench, model)
        self._write_chosen(store, bench)

    def write_record(self, store: Store, bench: Workbench, settings: SimulateSettings) -> None:
        """``run.json``; its presence says that the run is complete."""
        text = json.dumps(self._facts(store, bench, settings), indent=1)
        write_text_atomic(self.path / "run.json", text + "\n")

    def write_report(self) -> None:
        """``report.html`` from everything else."""
        write_report([self.path], self.path / "report.html")

    def _facts(self, store: Store, bench: Workbench, settings: SimulateSettings) -> dict[str, Any]:
        """Content of ``run.json``."""
        seconds: dict[str, float] = {"open": (store.recall("opening") or {}).get("seconds", 0.0)}
        for _, _, parts in store.results():
            for stage, value in parts.items():
                seconds[stage] = seconds.get(stage, 0.0) + value
        versions = {"aczerots": __version__, "python": platform.python_version(), "torch": torch.__version__}
        full = store.recall("full_label")
        return {
            "name": f"{bench.dataset.name} {settings.strategy} seed {settings.seed}",
            "dataset": bench.dataset.name,
            "strategy": settings.strategy,
            "preset": settings.preset,
            "seed": settings.seed,
            "settings": settings.model_dump(mode="json"),
            "taxonomy": bench.taxonomy.model_dump(mode="json"),
            "seconds": {k: round(v, 3) for k, v in seconds.items()},
            "versions": versions | {"numpy": np.__version__},
            "threads": torch.get_num_threads(),
            "hashes": store.recall("hashes") or {},
            "full_label": None if full is None else {"round": settings.rounds} | full,
            "complete": True,
        }

    def _write_examples(self, bench: Workbench, model: ProZS) -> None:
        """Image, truth, prediction and uncertainty of a few test slides, richest in classes first."""
        folder = self.path / "examples"
        folder.mkdir(exist_ok=True)
        for slide_id in _examples(bench):
            sample = bench.dataset[slide_id]
            width, height = sample.slide.size
            whole = Box(0, 0, width, height)
            positions = [i for i, t in enumerate(bench.test.tiles) if t.slide == slide_id]
            canvas = Canvas(sample.slide.size)
            grids = _Part(bench, positions)
            for tile, p in tile_probabilities(model, grids, [bench.test.tiles[i] for i in positions]):
                canvas.paint(tile, p)
            done = canvas.finish()
            stem = folder / _safe(slide_id)
            image = sample.slide.read(whole, (width, height))
            write_png(stem.with_name(stem.name + ".image.png"), image)
            truth = sample.truth.read(whole, (width, height))
            write_palette_png(stem.with_name(stem.name + ".truth.png"), truth, bench.taxonomy)
            write_palette_png(stem.with_name(stem.name + ".prediction.png"), done.labels, bench.taxonomy)
            grey = np.round(done.uncertainty * 255).astype(np.uint8)
            write_png(stem.with_name(stem.name + ".uncertainty.png"), grey)

    def _write_chosen(self, store: Store, bench: Workbench) -> None:
        """Thumbnails of the chosen tiles."""
        folder = self.path / "chosen"
        folder.mkdir(exist_ok=True)
        for pick in store.picks():
            path = folder / f"{pick.round}-{pick.rank}.jpg"
            if not path.exists():
                tile = bench.pool.tiles[pick.tile]
                scale = _THUMBNAIL / max(tile.box.width, tile.box.height)
                size = max(1, round(tile.box.width * scale)), max(1, round(tile.box.height * scale))
                pixels = bench.dataset[tile.slide].slide.read(tile.box, size)
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
                write_bytes_atomic(path, buffer.getvalue())


class _Part:
    """Some positions of the test grids, as a FeatureSource."""

    def __init__(self, bench: Workbench, positions: Sequence[int]) -> None:
        self.grids, self.positions = bench.test.grids, positions

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: Sequence[int]) -> Any:
        return self.grids[[self.positions[i] for i in index]]


def _examples(bench: Workbench) -> list[str]:
    """Ids of a few test slides: small ones, rich in classes, unseen ones counting double."""
    ranked = []
    for order, sample in enumerate(s for s in bench.dataset.samples if s.split == "test"):
        width, height = sample.slide.size
        if width * height > _LARGEST_EXAMPLE:
            continue
        found = np.bincount(sample.truth.read(Box(0, 0, width, height), (width, height)).ravel(), minlength=256)
        present = found[: len(bench.taxonomy)] > 0.02 * width * height
        ranked.append((-int((present * (1 + ~bench.taxonomy.seen)).sum()), order, sample.slide.id))
    return [slide_id for _, _, slide_id in sorted(ranked)[:_EXAMPLES]]


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """CSV text; NaN becomes an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = list(columns or (rows[0] if rows else ()))
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row[k]) for k in names])
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else value


def _safe(slide_id: str) -> str:
    """The id as a file name."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in slide_id)
