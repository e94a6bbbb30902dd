"""The pool: tiles that can be asked for with their features, and the words that models are built on. No truth."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aczerots.backbones.base import Backbone
from aczerots.backbones.cache import FeatureStore
from aczerots.backbones.storage import CELLS, FeatureCache
from aczerots.config import CacheMode, TextMode
from aczerots.engine.progress import Progress
from aczerots.loop.embed import fill_features
from aczerots.prozs.checkpoint import ModelCard
from aczerots.prozs.model import ProZS
from aczerots.prozs.presets import Preset
from aczerots.prozs.train import JointSpace, train, untrained
from aczerots.prozs.training_set import TrainingSet
from aczerots.selection.base import PoolView
from aczerots.selection.pool_view import changed_fraction, view_pool
from aczerots.slides.base import Slide, Tile
from aczerots.taxonomy import Taxonomy
from aczerots.text.descriptions import describe_taxonomy, undescribed
from aczerots.text.prototypes import text_prototypes

CONTEXT = 512
"""Tiles without annotation that a fit sees of a pool whose coarse features only are kept."""

Masks = Mapping[int, NDArray[np.uint8]]
"""Label ids uint8 [size, size] of annotated tiles, in the frames of their windows, by position in the pool."""


@dataclass(frozen=True)
class Pool:
    """What selection draws from and what models are built on; the same in all rounds.

    Attributes:
        taxonomy: The classes with seen flags and the descriptions in use.
        backbone: The frozen model.
        text: Text prototypes t_c, float32 [C, d], unit length.
        tiles: The tiles.
        slides: Their slides by id.
        features: Dense features of the tiles; computed when they are asked for if ``coarse`` is given.
        coarse: Features averaged over regions, for selection in large pools; None where ``features`` serve.
        mpp: Micrometres per pixel that models of this pool read slides at; None takes level-0 pixels as they are.
        device: Where models compute.
    """

    taxonomy: Taxonomy
    backbone: Backbone
    text: torch.Tensor
    tiles: Sequence[Tile]
    slides: Mapping[str, Slide]
    features: FeatureStore
    coarse: FeatureStore | None = None
    mpp: float | None = None
    device: str = "cpu"

    @cached_property
    def space(self) -> JointSpace:
        """What models are built on."""
        return JointSpace(self.backbone.info, self.text, torch.from_numpy(self.taxonomy.seen), self.device)

    def untrained(self, preset: Preset, seed: int) -> ProZS:
        """The model of a preset before any training."""
        return untrained(preset, self.space, seed)

    def train(self, preset: Preset, masks: Masks, seed: int) -> ProZS:
        """A model trained from scratch on annotations; equal arguments give equal weights.

        Raises:
            InputError: No annotated pixel of a seen class.
        """
        labels = torch.from_numpy(np.stack(list(masks.values())))
        rest = self._context(masks, seed)
        if self.coarse is not None:
            self.features.fill([*masks, *rest])
        slides = [self.tiles[i].slide for i in masks]
        return train(preset, self.space, TrainingSet(self.features, list(masks), labels, rest, slides), seed)

    def _context(self, masks: Container[int], seed: int) -> list[int]:
        """Positions of tiles without annotation that a fit may see: all, or a random part if features are coarse.

        The part changes from round to round only by the tiles that are drawn, so that few features are new.
        """
        if self.coarse is None:
            return [i for i in range(len(self.tiles)) if i not in masks]
        order = np.random.default_rng(seed).permutation(len(self.tiles))
        return sorted([int(i) for i in order if int(i) not in masks][:CONTEXT])

    def view(self, model: ProZS, masks: Masks, scratch: Path | None = None) -> PoolView:
        """The pool as a model sees it; ``scratch`` is a folder for what is too large to be held in memory."""
        return view_pool(model, self._regions, self.tiles, masks, self.taxonomy, scratch=scratch)

    def changed(self, before: ProZS, after: ProZS) -> float:
        """Fraction of the pool's feature cells whose class differs between two models."""
        return changed_fraction(before, after, self._regions, self.tiles)

    @property
    def _regions(self) -> FeatureStore:
        return self.features if self.coarse is None else self.coarse

    def card(self, preset: str, rounds: int) -> ModelCard:
        """What the file of a model on this pool says of it."""
        info = self.backbone.info
        return ModelCard(
            preset=preset,
            taxonomy=self.taxonomy,
            backbone=info,
            backbone_hash=info.hash,
            tile_size=self.tiles[0].size,
            mpp=self.mpp,
            rounds=rounds,
        )


def open_pool(  # noqa: PLR0913  # keyword-only: each names a part of the pool
    taxonomy: Taxonomy,
    tiles: Sequence[Tile],
    slides: Mapping[str, Slide],
    backbone: Backbone,
    *,
    cache: Path | None,
    progress: Progress,
    mode: CacheMode = "dense",
    mpp: float | None = None,
    device: str = "cpu",
) -> Pool:
    """A pool with its features, from the cache where possible; says what it will take before it starts.

    Args:
        taxonomy: The classes with the descriptions in use (:func:`describe`).
        tiles: The tiles.
        slides: Their slides by id.
        backbone: The backbone.
        cache: Folder of cached features.
        progress: Receives progress.
        mode: ``dense`` keeps the features of all tiles on disk, ``off`` in memory; ``pooled`` keeps coarse ones of
            all tiles and dense ones of the tiles that fits see.
        mpp: Micrometres per pixel that models read slides at.
        device: Where models compute.

    Raises:
        InputError: A slide cannot be read.
        StorageError: The disk has not the room for the features.
        SettingsError: The memory has not, where they are kept there.
    """
    kept = None if mode == "off" or cache is None else cache
    text = text_prototypes(backbone, taxonomy).cpu()
    features = FeatureStore(tiles, slides, backbone, None if kept is None else FeatureCache(kept, backbone.info))
    coarse = None
    if mode == "pooled" and kept is not None:
        coarse = FeatureStore(tiles, slides, backbone, FeatureCache(kept, backbone.info, CELLS))
    fill_features([features if coarse is None else coarse], progress, stage="embed pool")
    return Pool(taxonomy, backbone, text, tiles, slides, features, coarse, mpp, device)


def describe(taxonomy: Taxonomy, text: TextMode, progress: Progress, place: str) -> Taxonomy:
    """The classes with the descriptions in use; says which have none, and the file (``place``) that can hold some."""
    bare = undescribed(taxonomy) if text == "descriptions" else ()
    if bare:
        hint = f"uses templates of the name ({place} can hold sentences)"
        progress.say(f"no description for: {', '.join(bare)}; {hint}")
    return describe_taxonomy(taxonomy, text)
