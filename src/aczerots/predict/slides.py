"""Segments slides with a fitted model: what the command `predict` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aczerots.engine.base import Engine
from aczerots.engine.local import HereEngine
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import AczerotsError, InputError, SettingsError
from aczerots.predict.batch import SlideBatch
from aczerots.predict.jobs import MapJob
from aczerots.predict.slide_map import MapOptions
from aczerots.prozs.checkpoint import load_model
from aczerots.slides.resolution import check_given
from aczerots.storage.files import make_folder
from aczerots.storage.remote import SlideFetcher, absolute, is_url, name_of, open_folder
from aczerots.taxonomy import Taxonomy, TissueClass


def predict_slides(  # noqa: PLR0913  # keyword-only: each names something a user may choose
    model: Path | str,
    slides: Sequence[Path | str],
    out: Path | str,
    *,
    mpp: float | None = None,
    add_classes: Sequence[str] = (),
    options: MapOptions | None = None,
    engine: Engine | None = None,
    part: tuple[int, int] | None = None,
    progress: Progress | None = None,
    compiled: bool = False,
    trust_remote_code: bool = False,
) -> tuple[list[dict[str, Any]], list[AczerotsError]]:
    """Segment slides of any kind, plain images included; a bad one is reported and the others finish.

    Args:
        model: Model file, path or URL.
        slides: Files, paths or URLs; their stems must differ, since they name the results.
        out: Folder or URL for the results, and for ``areas.csv``.
        mpp: Micrometres per level-0 pixel of all slides, against what files state; None takes what they state.
        add_classes: Further classes, each ``name`` or ``name: description``.
        options: What is written and how.
        engine: Where to compute; None takes the CPU in this process.
        part: (i, n) does the i-th of n parts of the slides, i from 1, and writes ``areas-i-of-n.csv``.
        progress: Receives progress.
        compiled: Compile the backbone's forward pass.
        trust_remote_code: Let the backbone's repository run Python code that it brings along.

    Returns:
        (a row per finished slide: its file name as ``image`` and the area fraction of each class by name, errors of
        the others). A class that is named "image" is called "class image" there.

    Raises:
        AczerotsError: The model cannot be used, two slides share a stem, ``mpp`` is no resolution of a slide, or the
            folder cannot be written.
    """
    if mpp is not None:
        check_given(mpp)
    progress, engine = progress or Silent(), engine or HereEngine()
    _check_stems(slides)
    places = [absolute(slide) for slide in slides]
    areas = "areas.csv"
    if part is not None:
        places, areas = part_of(places, *part), f"areas-{part[0]}-of-{part[1]}.csv"
    fetcher = SlideFetcher()
    taxonomy = load_model(fetcher.fetch(absolute(model)))[1].taxonomy
    extra = tuple(read_class(text, taxonomy) for text in add_classes)
    few = len(places) < engine.workers
    job = MapJob(
        absolute(model),
        absolute(out),
        mpp,
        extra,
        options or MapOptions(),
        # Every worker would copy a slide that lies elsewhere.
        split=engine.workers > 1 and (few or not any(is_url(place) for place in places)),
        compiled=compiled,
        trust_remote_code=trust_remote_code,
        progress=progress if engine.here else Silent(),
    )
    taxonomy = Taxonomy(classes=(*taxonomy.classes, *extra))
    make_folder(open_folder(job.out).local)
    maps, failures = SlideBatch(places, job, taxonomy, areas, progress).run(engine)
    names = [f"class {name}" if name == "image" else name for name in taxonomy.names]
    rows = [{"image": name_of(p)} | dict(zip(names, m.fractions, strict=True)) for p, m in maps.items()]
    return rows, failures


def part_of(slides: Sequence[str], number: int, count: int) -> list[str]:
    """The ``number``-th of ``count`` parts, from 1: every ``count``-th slide, so that sizes mix.

    Raises:
        SettingsError: There is no such part.
    """
    if not 1 <= number <= count:
        raise SettingsError(f"there is no part {number} of {count}", where="--part", fix="Use 1/N to N/N")
    return list(slides[number - 1 :: count])


def read_part(text: str) -> tuple[int, int]:
    """(i, n) of ``i/n``.

    Raises:
        SettingsError: It is nothing of that kind.
    """
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal()):
        raise SettingsError(f"'{text}' is no part", where="--part", fix="Write i/n, such as 3/16")
    return int(number), int(count)


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


def _check_stems(images: Sequence[Path | str]) -> None:
    """Refuse images whose results would overwrite each other."""
    first: dict[str, Path | str] = {}
    for image in images:
        stem = Path(name_of(image)).stem
        if stem in first:
            fix = "Predict them into different folders"
            raise InputError(f"has the same stem as {first[stem]}", where=image, fix=fix)
        first[stem] = image
