"""Uses a fitted model: images to masks and overlays, and a dataset's test part to metrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aczerots.config import cache_folder
from aczerots.datasets.base import Dataset
from aczerots.datasets.locate import locate_dataset
from aczerots.errors import AczerotsError, InputError
from aczerots.files import make_folder
from aczerots.predict import Segmenter, load_segmenter
from aczerots.progress import Progress, Silent
from aczerots.report.images import overlay, write_palette_png, write_png
from aczerots.slides.base import Box
from aczerots.slides.image import ImageSlide
from aczerots.workbench import check_truth, embed_split, measure


def predict_images(
    model: Path,
    images: Sequence[Path],
    out: Path,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
    compiled: bool = False,
    trust_remote_code: bool = False,
) -> tuple[list[dict[str, Any]], list[AczerotsError]]:
    """Segment images; a bad one is reported and the others finish.

    Args:
        model: Model file.
        images: Image files; their stems must differ, since they name the results.
        out: Folder for ``<stem>.mask.png`` (palette) and ``<stem>.overlay.png``.
        device: Where to compute.
        progress: Receives progress.
        compiled: Compile the backbone's forward pass.
        trust_remote_code: Let the backbone's repository run Python code that it brings along.

    Returns:
        (a row per finished image: its name and the area share of each class, errors of the others).

    Raises:
        AczerotsError: The model cannot be used, two images share a stem, or the folder cannot be written.
    """
    progress = progress or Silent()
    _check_stems(images)
    segmenter = load_segmenter(model, device, compiled=compiled, trust_remote_code=trust_remote_code)
    make_folder(out)
    rows: list[dict[str, Any]] = []
    failures: list[AczerotsError] = []
    for i, path in enumerate(images):
        try:
            rows.append(_predict_one(segmenter, path, out))
        except InputError as error:
            failures.append(error)
        progress.step("predict", i + 1, len(images))
    return rows, failures


def _check_stems(images: Sequence[Path]) -> None:
    """Refuse images whose results would overwrite each other."""
    first: dict[str, Path] = {}
    for path in images:
        if path.stem in first:
            raise InputError(
                f"has the same stem as {first[path.stem]}",
                where=path,
                fix="Predict them into different folders",
            )
        first[path.stem] = path


def _predict_one(segmenter: Segmenter, path: Path, out: Path) -> dict[str, Any]:
    """Segment one image and write its results."""
    taxonomy = segmenter.card.taxonomy
    slide = ImageSlide(path, path.stem)
    result = segmenter.segment(slide)
    write_palette_png(out / f"{path.stem}.mask.png", result.labels, taxonomy)
    width, height = slide.size
    picture = overlay(slide.read(Box(0, 0, width, height), slide.size), result.labels, taxonomy, 0.45)
    write_png(out / f"{path.stem}.overlay.png", picture)
    share = np.bincount(result.labels.ravel(), minlength=len(taxonomy)) / result.labels.size
    return {"image": path.name} | dict(zip(taxonomy.names, share.tolist(), strict=True))


def evaluate_model(
    model: Path,
    dataset: str,
    *,
    device: str = "cpu",
    cache: Path | None = None,
    progress: Progress | None = None,
    compiled: bool = False,
    trust_remote_code: bool = False,
) -> dict[str, float]:
    """Metrics of a model on the test part of a dataset with the same classes.

    Raises:
        InputError: The dataset has other classes than the model, or cannot be read.
    """
    progress = progress or Silent()
    segmenter = load_segmenter(model, device, compiled=compiled, trust_remote_code=trust_remote_code)
    data = locate_dataset(dataset)
    taxonomy = segmenter.card.taxonomy
    _check_classes(data, taxonomy.names, model)
    check_truth(data, ("test",))
    size = segmenter.card.tile_size
    test = embed_split(
        data, "test", size, segmenter.backbone, cache or cache_folder(), progress, mpp=segmenter.card.mpp
    )
    return measure(segmenter.model, data, test, taxonomy, progress).row(taxonomy)


def _check_classes(data: Dataset, names: Sequence[str], model: Path) -> None:
    """Refuse a dataset whose classes are not the model's."""
    if data.taxonomy.names != tuple(names):
        raise InputError(
            f"has the classes {', '.join(data.taxonomy.names)}; {model} knows {', '.join(names)}",
            where=data.name,
            fix="Evaluate on a dataset with the same classes in the same order",
        )
