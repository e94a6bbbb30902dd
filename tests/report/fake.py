"""Made-up run folders for tests and for looking at the page: synthetic numbers, drawn pictures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from aczerots.report.images import write_palette_png
from aczerots.taxonomy import IGNORE, Taxonomy, TissueClass

TAXONOMY = Taxonomy(
    classes=(
        TissueClass(name="tumor epithelium", color=(214, 39, 40)),
        TissueClass(name="tumor-associated stroma", color=(44, 160, 44)),
        TissueClass(name="normal lung tissue", color=(31, 119, 180), seen=False),
        TissueClass(name="necrosis", color=(255, 191, 0)),
    )
)
COMPONENTS = ("uncertainty", "diversity", "coverage:seen", "coverage:unseen")
HEADER = ("round", "labelled_tiles", "labelled_fraction", "pacc", "miou_seen", "miou_unseen", "hiou")


def _field(rng: np.random.Generator, side: int, scale: float) -> NDArray[np.float64]:
    """Smooth noise [side, side] of zero mean and unit spread."""
    noise = gaussian_filter(rng.normal(size=(side, side)), scale, mode="wrap")
    return np.asarray((noise - noise.mean()) / noise.std())


def draw_tissue(rng: np.random.Generator, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Something pink and purple, RGB [side, side, 3], with label ids [side, side]."""
    fields = np.stack([_field(rng, side, side / 14) for _ in TAXONOMY.classes])
    labels = fields.argmax(axis=0).astype(np.uint8)
    base = np.array([[150, 95, 165], [226, 160, 195], [238, 222, 234], [214, 140, 165]], dtype=float)
    nuclei = (_field(rng, side, 1.6) > np.array([0.6, 1.6, 1.9, 2.4])[labels])[..., None]
    image = np.where(nuclei, [92.0, 58.0, 128.0], base[labels]) + 9 * _field(rng, side, 0.8)[..., None]
    return image.clip(0, 255).astype(np.uint8), labels


def _scores(round_number: int, gain: float, rng: np.random.Generator) -> dict[str, float]:
    """A row of ``metrics.csv`` that grows with the rounds."""
    level = 1 - np.exp(-0.7 * round_number)
    ious = {
        f"iou:{c.name}": float(np.clip(0.18 + (0.5 if c.seen else 0.22) * gain * level + rng.normal(0, 0.015), 0, 1))
        for c in TAXONOMY.classes
    }
    seen = float(np.mean([ious[f"iou:{c.name}"] for c in TAXONOMY.classes if c.seen]))
    unseen = float(np.mean([ious[f"iou:{c.name}"] for c in TAXONOMY.classes if not c.seen]))
    total = {"pacc": seen + 0.15, "miou_seen": seen, "miou_unseen": unseen}
    return {**total, "hiou": 2 * seen * unseen / (seen + unseen), **ious}


def _write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    """Rows with the keys of the first as header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _write_pictures(folder: Path, rng: np.random.Generator, count: int) -> None:
    """Example pictures with a prediction that errs along the borders."""
    folder.mkdir()
    for number in range(count):
        image, labels = draw_tissue(rng, 320)
        confusion = gaussian_filter(rng.random(labels.shape), 6)
        wrong = confusion > np.quantile(confusion, 0.85)
        prediction = np.where(wrong, np.roll(labels, 25, axis=1), labels).astype(np.uint8)
        truth = labels.copy()
        truth[:40, :60] = IGNORE
        Image.fromarray(image).save(folder / f"case_{number}.image.png")
        write_palette_png(folder / f"case_{number}.truth.png", truth, TAXONOMY)
        write_palette_png(folder / f"case_{number}.prediction.png", prediction, TAXONOMY)
        grey = (255 * (confusion - confusion.min()) / np.ptp(confusion)).astype(np.uint8)
        Image.fromarray(grey).save(folder / f"case_{number}.uncertainty.png")


def _write_selections(folder: Path, rng: np.random.Generator, rounds: int, tiles: int) -> None:
    """``selections.csv`` and thumbnails; the first round is drawn at random and has no scores."""
    (folder / "chosen").mkdir()
    rows: list[dict[str, object]] = []
    for round_number in range(1, rounds):
        for rank in range(1, tiles + 1):
            parts = {name: "" if round_number == 1 else f"{rng.random() / rank:.4f}" for name in COMPONENTS}
            score = "" if round_number == 1 else f"{sum(map(float, parts.values())):.4f}"
            tile = f"case_{rank:02d}@{224 * round_number},0,224,224"
            rows.append({"tile": tile, "round": round_number, "rank": rank, "score": score, **parts})
            image, _ = draw_tissue(rng, 96)
            Image.fromarray(image).save(folder / "chosen" / f"{round_number}-{rank}.jpg")
    _write_csv(folder / "selections.csv", rows)


def write_fake_run(
    folder: Path,
    *,
    strategy: str = "aczerots",
    seed: int = 0,
    rounds: int = 6,
    gain: float = 1.0,
    tiles: int = 6,
    examples: int = 3,
    full_label: bool = True,
    complete: bool = True,
) -> Path:
    """Write a whole run folder and return it."""
    rng = np.random.default_rng([seed, len(strategy)])
    folder.mkdir(parents=True)
    shares = [0.0] + [min(1.0, 0.05 + 0.15 * r) for r in range(rounds - 1)]
    metrics: list[dict[str, object]] = [
        {"round": r, "labelled_tiles": round(120 * s), "labelled_fraction": s, **_scores(r, gain, rng)}
        for r, s in enumerate(shares)
    ]
    _write_csv(folder / "metrics.csv", metrics)
    _write_selections(folder, rng, rounds, tiles)
    if examples:
        _write_pictures(folder / "examples", rng, examples)
    full = {"round": 1, "labelled_tiles": 120, "labelled_fraction": 1.0, **_scores(9, 1.1, rng)}
    record = {
        "name": f"luad {strategy} seed {seed}",
        "dataset": "luad",
        "strategy": strategy,
        "preset": "prozs",
        "seed": seed,
        "settings": {
            "initial": 0.05, "budget": 0.15, "rounds": rounds, "tile_size": 224, "backbone": "embedded",
            "text": "descriptions", "unseen": ["normal lung tissue"], "without": [],
            "seed": seed, "full": False,
        },
        "taxonomy": TAXONOMY.model_dump(mode="json"),
        "seconds": {"embed": 21.4, "fit": 95.2, "select": 3.3, "evaluate": 12.9},
        "versions": {"aczerots": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.6"},
        "hashes": {"dataset": "9f2c51d07ab34e11", "backbone": "0d4c7c0e77aa1b2f", "model": "b5d1f3a9"},
        "full_label": full if full_label else None,
        "complete": complete,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    return folder
