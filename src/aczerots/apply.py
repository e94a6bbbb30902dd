"""Uses a fitted model: slides to maps, and a dataset's test part to metrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aczerots.config import cache_folder
from aczerots.datasets.base import Dataset
from aczerots.datasets.locate import locate_dataset
from aczerots.errors import AczerotsError, InputError, MissingExtraError, SettingsError
from aczerots.files import make_folder
from aczerots.maps.areas import write_areas
from aczerots.maps.run import MapOptions, SlideMap, map_slide
from aczerots.predict import load_segmenter
from aczerots.progress import Progress, Silent
from aczerots.slides.open import open_slide
from aczerots.taxonomy import Taxonomy, TissueClass
from aczerots.workbench import check_truth, embed_split, measure


def predict_slides(  # noqa: PLR0913  # keyword-only: each names something a user may choose
    model: Path,
    slides: Sequence[Path],
    out: Path,
    *,
    mpp: float | None = None,
    add_classes: Sequence[str] = (),
    options: MapOptions | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    compiled: bool = False,
    trust_remote_code: bool = False,
) -> tuple[list[dict[str, Any]], list[AczerotsError]]:
    """Segment slides of any kind, plain images included; a bad one is reported and the others finish.

    Args:
        model: Model file.
        slides: Files; their stems must differ, since they name the results.
        out: Folder for the results, see :func:`~aczerots.maps.run.map_slide`, and ``areas.csv``.
        mpp: Micrometres per level-0 pixel of files that state none.
        add_classes: Further classes, each ``name`` or ``name: description``.
        options: What is written and how.
        device: Where to compute.
        progress: Receives progress.
        compiled: Compile the backbone's forward pass.
        trust_remote_code: Let the backbone's repository run Python code that it brings along.

    Returns:
        (a row per finished slide: its file name and the area share of each class, errors of the others).

    Raises:
        AczerotsError: The model cannot be used, two slides share a stem, or the folder cannot be written.
    """
    progress = progress or Silent()
    _check_stems(slides)
    segmenter = load_segmenter(model, device, compiled=compiled, trust_remote_code=trust_remote_code)
    if add_classes:
        segmenter = segmenter.with_classes([read_class(text, segmenter.card.taxonomy) for text in add_classes])
    taxonomy = segmenter.card.taxonomy
    make_folder(out)
    rows: list[dict[str, Any]] = []
    maps: list[SlideMap] = []
    failures: list[AczerotsError] = []
    for path in slides:
        try:
            maps.append(map_slide(segmenter, open_slide(path, mpp), out, options or MapOptions(), progress))
        except (InputError, MissingExtraError) as error:
            failures.append(_named(error, path))
            continue
        rows.append({"image": path.name} | dict(zip(taxonomy.names, maps[-1].shares, strict=True)))
        # After each slide: an interrupt must not cost the areas of those that are finished.
        write_areas(out / "areas.csv", maps, taxonomy)
    return rows, failures


def _named(error: AczerotsError, path: Path) -> AczerotsError:
    """The error with the file it is about; some only know the slide's id."""
    return error if path.name in str(error) else InputError(str(error), where=path)


def read_class(text: str, known: Taxonomy) -> TissueClass:
    """A further class from ``name`` or ``name: description``; its colour is far from those of the known ones.

    Raises:
        SettingsError: No name, or a class of that name is there.
    """
    name, _, words = (part.strip() for part in text.partition(":"))
    if not name:
        fix = "Give it as 'name' or 'name: description'"
        raise SettingsError(f"'{text}' names no class", where="--add-class", fix=fix)
    if name in known.names:
        raise SettingsError(f"the model already knows '{name}'", where="--add-class", fix="Choose another name")
    levels = np.arange(32, 256, 56)
    candidates = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    taken = np.array([*(c.color for c in known.classes), (255, 255, 255), (0, 0, 0)])
    far = np.abs(candidates[:, None] - taken).sum(axis=2).min(axis=1).argmax()
    red, green, blue = (int(v) for v in candidates[far])
    return TissueClass(name=name, color=(red, green, blue), seen=False, descriptions=(words,) if words else ())


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
        SettingsError: It states no resolution and the model needs one.
    """
    progress = progress or Silent()
    segmenter = load_segmenter(model, device, compiled=compiled, trust_remote_code=trust_remote_code)
    data = locate_dataset(dataset)
    taxonomy = segmenter.card.taxonomy
    _check_classes(data, taxonomy.names, model)
    check_truth(data, ("test",))
    card, folder = segmenter.card, cache or cache_folder()
    test = embed_split(data, "test", card.tile_size, segmenter.backbone, folder, progress, mpp=card.mpp)
    return measure(segmenter.model, data, test, taxonomy, progress).row(taxonomy)


def _check_classes(data: Dataset, names: Sequence[str], model: Path) -> None:
    """Refuse a dataset whose classes are not the model's."""
    if data.taxonomy.names != tuple(names):
        raise InputError(
            f"has the classes {', '.join(data.taxonomy.names)}; {model} knows {', '.join(names)}",
            where=data.name,
            fix="Evaluate on a dataset with the same classes in the same order",
        )
