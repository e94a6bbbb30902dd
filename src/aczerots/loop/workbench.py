"""Everything a run works on, opened once: dataset, backbone, words, tiles, cached grids."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aczerots.backbones.base import Backbone
from aczerots.backbones.cache import FeatureStore
from aczerots.backbones.locate import locate_backbone, locate_device
from aczerots.backbones.options import BackboneOptions
from aczerots.backbones.storage import CELLS, FeatureCache
from aczerots.config import CacheMode, TextMode
from aczerots.datasets.base import Dataset, Split
from aczerots.datasets.locate import locate_dataset
from aczerots.engine.progress import Progress
from aczerots.errors import SettingsError
from aczerots.evaluate import ConfusionMatrix, Metrics
from aczerots.loop.expert import draw, read_truth
from aczerots.predict.segmenter import tile_labels
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import Preset
from aczerots.prozs.train import JointSpace, train, untrained
from aczerots.prozs.training_set import TrainingSet
from aczerots.slides.base import Box, Slide, Tile
from aczerots.storage.machine import available_memory, free_space, size_text
from aczerots.taxonomy import Taxonomy
from aczerots.text.descriptions import describe_taxonomy, undescribed, with_user_descriptions
from aczerots.text.prototypes import text_prototypes

CONTEXT = 512
"""Tiles without annotation that a fit sees of a pooled pool: for the keep-unseen term and for gamma."""


@dataclass(frozen=True)
class TileSet:
    """Tiles with their grids, in one order.

    Attributes:
        tiles: The tiles.
        grids: Their grids; if ``pooled`` is given, computed only for the tiles that are asked for.
        pooled: Coarse grids of all tiles, for selection in large pools.
    """

    tiles: list[Tile]
    grids: FeatureStore
    pooled: FeatureStore | None = None

    @property
    def regions(self) -> FeatureStore:
        """The grids that selection works on."""
        return self.grids if self.pooled is None else self.pooled


@dataclass(frozen=True)
class Workbench:
    """What stays the same over all rounds of a run.

    Attributes:
        dataset: Slides with truth.
        taxonomy: Its classes with seen flags and the descriptions in use.
        backbone: The frozen model.
        text: Text prototypes t_c, float32 [C, d].
        pool: Tiles that selection draws from.
        test: Tiles for evaluation only.
        device: Where models compute.
    """

    dataset: Dataset
    taxonomy: Taxonomy
    backbone: Backbone
    text: torch.Tensor
    pool: TileSet
    test: TileSet
    device: str

    def expert(self, position: int) -> NDArray[np.uint8]:
        """What the simulated expert draws on a pool tile: label ids uint8 [size, size]."""
        tile = self.pool.tiles[position]
        return draw(self.dataset[tile.slide].truth, tile, self.taxonomy)

    @property
    def space(self) -> JointSpace:
        """What models are built on."""
        return JointSpace(self.backbone.info, self.text, torch.from_numpy(self.taxonomy.seen), self.device)

    def zero_shot(self, preset: Preset, seed: int) -> ProZS:
        """The untrained model of a preset."""
        return untrained(preset, self.space, seed)

    def fitted(self, preset: Preset, annotations: dict[int, NDArray[np.uint8]], seed: int) -> ProZS:
        """A model fitted from scratch to annotations by pool position; equal arguments give equal weights."""
        labels = torch.from_numpy(np.stack(list(annotations.values())))
        rest = self._context(annotations, seed)
        if self.pool.pooled is not None:
            self.pool.grids.fill([*annotations, *rest])
        slides = [self.pool.tiles[i].slide for i in annotations]
        return train(preset, self.space, TrainingSet(self.pool.grids, list(annotations), labels, rest, slides), seed)

    def _context(self, annotations: Container[int], seed: int) -> list[int]:
        """Positions of tiles without annotation that a fit may see: all, or of a pooled pool a random part.

        The part changes from round to round only by the tiles that are drawn, so that few grids are new.
        """
        if self.pool.pooled is None:
            return [i for i in range(len(self.pool.tiles)) if i not in annotations]
        order = np.random.default_rng(seed).permutation(len(self.pool.tiles))
        return sorted([int(i) for i in order if int(i) not in annotations][:CONTEXT])

    def evaluate(self, model: ProZS, progress: Progress) -> Metrics:
        """Metrics of a model on the test tiles."""
        return measure(model, self.dataset, self.test, self.taxonomy, progress)


def measure(model: ProZS, dataset: Dataset, part: TileSet, taxonomy: Taxonomy, progress: Progress) -> Metrics:
    """Metrics of a model on some tiles of a dataset."""
    matrix = ConfusionMatrix(len(taxonomy))
    for i, (tile, said) in enumerate(tile_labels(model, part.grids, part.tiles)):
        truth = read_truth(dataset[tile.slide].truth, tile)[tile.inner]
        matrix.add(truth, said)
        progress.step("evaluate", i + 1, len(part.tiles))
    return matrix.metrics(taxonomy)


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
    bare = undescribed(taxonomy) if text == "descriptions" else ()
    if bare:
        progress.say(
            f"no description for: {', '.join(bare)}; uses templates of the name (dataset.yaml can hold sentences)"
        )
    return describe_taxonomy(taxonomy, text)


def check_truth(dataset: Dataset, splits: Sequence[Split]) -> None:
    """Read every label map once, so that a bad mask is reported before any work is done.

    Raises:
        InputError: A mask is unreadable, of another size than its image, or holds an unknown id.
    """
    for sample in dataset.samples:
        if sample.split in splits:
            width, height = sample.slide.size
            sample.truth.read(Box(0, 0, width, height), (width, height))


def embed_split(  # noqa: PLR0913  # what is embedded, by what, into what
    dataset: Dataset,
    split: Split,
    tile_size: int,
    backbone: Backbone,
    cache: Path | None,
    progress: Progress,
    *,
    mode: CacheMode = "dense",
    mpp: float | None = None,
) -> TileSet:
    """Tiles of a split with their grids; see :func:`embed_tile_set`.

    Tiles are read at ``mpp`` micrometres per pixel, None takes level-0 pixels as they are.
    """
    slides = {s.slide.id: s.slide for s in dataset.samples}
    stage = "embed pool" if split == "train" else "embed test"
    return embed_tile_set(
        dataset.tiles(split, tile_size, mpp), slides, backbone, cache, progress, mode=mode, stage=stage
    )


def embed_tile_set(
    tiles: list[Tile],
    slides: Mapping[str, Slide],
    backbone: Backbone,
    cache: Path | None,
    progress: Progress,
    *,
    mode: CacheMode = "dense",
    stage: str = "embed",
) -> TileSet:
    """Tiles with their grids, from the cache where possible; says what it will take before it starts.

    Raises:
        StorageError: The disk has not the room for the grids.
        SettingsError: The memory has not, where they are kept there.
    """
    if cache is None or mode == "off":
        store = FeatureStore(tiles, slides, backbone, None)
        _fill(store, stage, progress)
        return TileSet(tiles, store)
    grids = FeatureStore(tiles, slides, backbone, FeatureCache(cache, backbone.info))
    if mode == "dense":
        _fill(grids, stage, progress)
        return TileSet(tiles, grids)
    pooled = FeatureStore(tiles, slides, backbone, FeatureCache(cache, backbone.info, CELLS))
    _fill(pooled, stage, progress)
    return TileSet(tiles, grids, pooled)


def _fill(store: FeatureStore, stage: str, progress: Progress) -> None:
    """Embed what is missing, and say before how much it is."""
    plan = store.plan()
    size = size_text(plan.size)
    if plan.missing:
        where = "in memory" if plan.folder is None else f"in {plan.folder}, {size_text(free_space(plan.folder))} free"
        progress.say(f"{stage}: {plan.missing} of {plan.tiles} tiles to compute, {size} {where}")
    memory = available_memory()
    if plan.folder is None and memory is not None and plan.size > memory:
        fix = "Use --cache dense or pooled"
        raise SettingsError(f"the grids need {size} of memory, {size_text(memory)} are free", where="--cache", fix=fix)
    store.fill(progress=lambda i, n: progress.step(stage, i, n))


def open_workbench(  # noqa: PLR0913  # keyword-only: each names a part of the bench
    dataset: str,
    *,
    unseen: Sequence[str],
    backbone: str,
    text: TextMode,
    tile_size: int,
    device: str,
    cache: Path | None,
    progress: Progress,
    mode: CacheMode = "dense",
    descriptions: Path | None = None,
    options: BackboneOptions | None = None,
) -> Workbench:
    """Open a dataset and a backbone and compute what is not cached yet.

    Raises:
        InputError: Bad images, masks, splits or weights.
        SettingsError: Unknown dataset kind, backbone or class.
    """
    device = locate_device(device)
    data = locate_dataset(dataset)
    taxonomy = choose_classes(data, unseen, text, progress, descriptions)
    check_truth(data, ("train", "test"))
    model = locate_backbone(backbone, device, options or BackboneOptions())
    prototypes = text_prototypes(model, taxonomy).cpu()
    pool = embed_split(data, "train", tile_size, model, cache, progress, mode=mode)
    # Every test tile is measured in every round: coarse grids would not do.
    whole: CacheMode = "off" if mode == "off" else "dense"
    test = embed_split(data, "test", tile_size, model, cache, progress, mode=whole)
    return Workbench(data, taxonomy, model, prototypes, pool, test, device)
