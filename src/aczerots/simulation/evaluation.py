"""What a simulated run is measured on: a dataset's test slides, segmented as `predict` does it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aczerots.backbones.base import Backbone
from aczerots.config import TextMode, cache_folder
from aczerots.datasets.base import Dataset, Sample, Split
from aczerots.datasets.locate import locate_dataset
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import InputError
from aczerots.evaluate import ConfusionMatrix, Metrics
from aczerots.loop.embed import fill_features
from aczerots.loop.pool import describe
from aczerots.names import composed
from aczerots.predict.blend import scored_blocks
from aczerots.predict.features import StoredWindows
from aczerots.predict.segmenter import Segmenter, load_segmenter
from aczerots.slides.base import Box
from aczerots.slides.labels import absent_classes
from aczerots.slides.tissue import everything
from aczerots.taxonomy import Taxonomy
from aczerots.text.descriptions import with_user_descriptions


@dataclass(frozen=True)
class Evaluation:
    """The test part of a dataset with the features of its windows, computed once for all models on a backbone.

    Attributes:
        dataset: Slides with truth.
        windows: Windows of the test slides.
    """

    dataset: Dataset
    windows: StoredWindows

    @property
    def samples(self) -> list[Sample]:
        """Test slides with their truth."""
        return [s for s in self.dataset.samples if s.split == "test"]

    def measure(self, segmenter: Segmenter, progress: Progress) -> Metrics:
        """Metrics over all test slides, at the resolution the model reads at; what has no truth does not count."""
        matrix = ConfusionMatrix(len(segmenter.card.taxonomy))
        samples = self.samples
        for i, sample in enumerate(samples):
            self.count(segmenter, sample, matrix)
            progress.step("evaluate", i + 1, len(samples))
        return matrix.metrics(segmenter.card.taxonomy)

    def count(self, segmenter: Segmenter, sample: Sample, matrix: ConfusionMatrix) -> None:
        """Add the pixels of a test slide to a confusion matrix."""
        plan, whole = segmenter.plan(sample.slide), everything(sample.slide)
        area = Box(0, 0, *plan.size)
        for block, scores in scored_blocks(segmenter.model, plan, self.windows, area, whole):
            truth = sample.truth.read(plan.level0(block), (block.width, block.height))
            matrix.add(truth, scores.best(block))


def open_evaluation(
    dataset: Dataset,
    backbone: Backbone,
    tile_size: int,
    mpp: float | None,
    cache: Path | None,
    progress: Progress,
) -> Evaluation:
    """Compute the features of the test slides that the cache lacks.

    Args:
        dataset: The dataset.
        backbone: The backbone.
        tile_size: Side in pixels of the tiles that models are fitted on.
        mpp: Micrometres per pixel that models read at; None takes level-0 pixels as they are.
        cache: Folder of cached features; None keeps them in memory.
        progress: Receives progress.

    Raises:
        InputError: There is no test slide, or one cannot be read or states no resolution.
        StorageError: The disk has not the room.
        SettingsError: The memory has not.
    """
    slides = [s.slide for s in dataset.samples if s.split == "test"]
    if not slides:
        raise InputError("the test part is empty", where=dataset.name, fix="Mark images as 'test' in split.csv")
    windows = StoredWindows(backbone, slides, tile_size, mpp, cache)
    fill_features(windows.stores, progress, stage="embed test")
    return Evaluation(dataset, windows)


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
        InputError: The dataset has other classes than the model, cannot be read, or states no resolution and the
            model needs one.
    """
    progress = progress or Silent()
    segmenter = load_segmenter(model, device, compiled=compiled, trust_remote_code=trust_remote_code)
    data, card = locate_dataset(dataset), segmenter.card
    for note in data.notes:
        progress.say(note)
    if [composed(n) for n in data.taxonomy.names] != [composed(n) for n in card.taxonomy.names]:
        raise InputError(
            f"has the classes {', '.join(data.taxonomy.names)}; {model} knows {', '.join(card.taxonomy.names)}",
            where=data.name,
            fix="Evaluate on a dataset with the same classes in the same order",
        )
    check_truth(data, ("test",), progress)
    folder = cache or cache_folder()
    evaluation = open_evaluation(data, segmenter.backbone, card.tile_size, card.mpp, folder, progress)
    return evaluation.measure(segmenter, progress).row(card.taxonomy)


def choose_classes(
    dataset: Dataset, unseen: Sequence[str], text: TextMode, progress: Progress, descriptions: Path | None = None
) -> Taxonomy:
    """The dataset's classes with seen flags and descriptions as asked for; says which have no description.

    Raises:
        SettingsError: Unknown class in ``unseen``, or no seen class left.
        InputError: The file of descriptions cannot be used.
    """
    marked = [c.name for c in dataset.taxonomy.classes if not c.seen]
    taxonomy = dataset.taxonomy.with_unseen(unseen or marked)
    if descriptions is not None:
        taxonomy = with_user_descriptions(taxonomy, descriptions)
    return describe(taxonomy, text, progress, "dataset.yaml")


def check_truth(dataset: Dataset, splits: Sequence[Split], progress: Progress | None = None) -> str:
    """Read every label map once, so that a bad mask is reported before any work is done.

    Says which classes have no pixel.

    Returns:
        Hash of all label maps.

    Raises:
        InputError: A mask is unreadable, of another size than its image, or holds an unknown id; or no pixel has a
            class.
    """
    digest, counts = hashlib.sha256(), np.zeros(256, dtype=np.int64)
    for sample in dataset.samples:
        if sample.split in splits:
            width, height = sample.slide.size
            labels = sample.truth.read(Box(0, 0, width, height), (width, height))
            digest.update(f"{sample.split} {sample.slide.id} {labels.shape} ".encode() + labels.tobytes())
            counts += np.bincount(labels.ravel(), minlength=256)
    if not counts[: len(dataset.taxonomy)].any():
        fix = "Ids are the positions of the classes, from 0; 255 is no class, also where it means the brightest grey"
        raise InputError("no pixel of the masks has a class", where=dataset.name, fix=fix)
    absent = absent_classes(counts, dataset.taxonomy)
    if absent is not None and progress is not None:
        progress.say(absent)
    return digest.hexdigest()[:16]
