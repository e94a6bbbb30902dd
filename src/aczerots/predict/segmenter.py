"""From grids to label maps: per tile, per slide, and the view of a pool that selection works on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from aczerots.backbones.base import Backbone, SlideBackbone
from aczerots.backbones.options import BackboneOptions
from aczerots.errors import InputError
from aczerots.predict.blend import blocks, chunk_scores, chunk_side, output_cells
from aczerots.predict.wide import wide_windows
from aczerots.prozs.checkpoint import ModelCard, load_model
from aczerots.prozs.model import ProZS
from aczerots.prozs.training_set import FeatureSource
from aczerots.selection.uncertainty import entropy
from aczerots.slides.base import Slide, Tile
from aczerots.slides.image import ImageSlide
from aczerots.slides.tissue import everything
from aczerots.slides.windows import OVERLAP, WindowPlan, plan_windows
from aczerots.taxonomy import Taxonomy, TissueClass

_BATCH = 8


@torch.no_grad()
def tile_probabilities(
    model: ProZS, grids: FeatureSource, tiles: Sequence[Tile]
) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
    """Class probabilities of each tile, inside its box, at the resolution it was read at.

    Yields:
        (tile, float32 [C, rows, columns]); scores are interpolated bilinearly between cells, then softmax.
    """
    for part, scores in _dense_scores(model, grids, tiles):
        for tile, p in zip(part, scores.softmax(dim=1).cpu().numpy(), strict=True):
            rows, columns = tile.inner
            yield tile, p[:, rows, columns]


@torch.no_grad()
def tile_labels(model: ProZS, grids: FeatureSource, tiles: Sequence[Tile]) -> Iterator[tuple[Tile, NDArray[np.uint8]]]:
    """The most probable class of each pixel of each tile, inside its box, at the resolution it was read at.

    Yields:
        (tile, label ids uint8 [rows, columns]).
    """
    for part, scores in _dense_scores(model, grids, tiles):
        # Torch's argmax takes ten times as long as max does.
        for tile, label in zip(part, scores.max(dim=1).indices.byte().cpu().numpy(), strict=True):
            rows, columns = tile.inner
            yield tile, label[rows, columns]


def _dense_scores(
    model: ProZS, grids: FeatureSource, tiles: Sequence[Tile]
) -> Iterator[tuple[Sequence[Tile], torch.Tensor]]:
    """Tiles in batches with their class scores [b, C, size, size], interpolated bilinearly between cells."""
    for start in range(0, len(tiles), _BATCH):
        part = range(start, min(start + _BATCH, len(tiles)))
        logits = model(grids[list(part)].to(model.text.device))
        size = tiles[start].size
        dense = F.interpolate(logits, size=(size, size), mode="bilinear", align_corners=False)
        yield [tiles[i] for i in part], dense


@dataclass(frozen=True)
class Segmentation:
    """Result for one slide, level-0 pixels.

    Attributes:
        labels: Label ids uint8 [height, width].
        uncertainty: Normalised entropy of the posterior, float32 [height, width], 0 (sure) to 1.
    """

    labels: NDArray[np.uint8]
    uncertainty: NDArray[np.float32]


class Canvas:
    """Collects the tiles of one slide.

    Args:
        size: (width, height) in level-0 pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        width, height = size
        self.labels = np.zeros((height, width), dtype=np.uint8)
        self.uncertainty = np.zeros((height, width), dtype=np.float32)

    def paint(self, tile: Tile, probabilities: NDArray[np.float32]) -> None:
        """Put probabilities [C, rows, columns] of a tile where its box is."""
        b = tile.box
        p = torch.from_numpy(probabilities)[None]
        if p.shape[2:] != (b.height, b.width):
            p = F.interpolate(p, size=(b.height, b.width), mode="bilinear", align_corners=False)
        dense = p[0].numpy()
        area = slice(b.y, b.y + b.height), slice(b.x, b.x + b.width)
        self.labels[area] = dense.argmax(axis=0)
        self.uncertainty[area] = entropy(np.moveaxis(dense, 0, -1))

    def finish(self) -> Segmentation:
        """What was painted."""
        return Segmentation(self.labels, self.uncertainty)


class Segmenter:
    """A fitted model with its backbone: segments slides.

    Args:
        model: The model.
        card: Its card.
        backbone: The backbone it was fitted on.

    Raises:
        InputError: The backbone is not the one the model was fitted on.
    """

    def __init__(self, model: ProZS, card: ModelCard, backbone: Backbone) -> None:
        if backbone.info.hash != card.backbone_hash:
            raise InputError(
                f"was fitted on {card.backbone.locator} {card.backbone_hash}, this is {backbone.info.hash}",
                where="model",
                fix="Install the version of the backbone it was fitted on, or fit the model again",
            )
        self.model, self.card, self.backbone = model, card, backbone

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 of weights, card and backbone: what decides the scores."""
        digest = hashlib.sha256(self.card.model_dump_json().encode())
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def plan(
        self,
        slide: Slide,
        overlap: float | None = None,
        chunk: int | None = None,
        shift: tuple[int, int] = (0, 0),
    ) -> WindowPlan:
        """Windows over a slide at the resolution the model was fitted at; see :func:`plan_windows`.

        Args:
            slide: The slide.
            overlap: Share of its side that a window has in common with the next. None reads large windows with a
                rim of whole slides if the backbone can (:func:`wide_windows`), else windows with :data:`OVERLAP`.
            chunk: Side of a chunk in map pixels, None takes what memory allows.
            shift: Moves the grid of windows.

        Raises:
            InputError: The slide states no resolution and the model needs one.
        """
        if overlap is None and isinstance(self.backbone, SlideBackbone) and not isinstance(slide, ImageSlide):
            return wide_windows(self.model, self.card, self.backbone, slide, chunk, shift)
        overlap = OVERLAP if overlap is None else overlap
        size = self.card.tile_size
        cells = output_cells(self.model, self.backbone, size)
        side = chunk or chunk_side(len(self.card.taxonomy), size / cells)
        return plan_windows(slide, size, cells, self.card.mpp, chunk=side, overlap=overlap, shift=shift)

    def segment(self, slide: Slide) -> Segmentation:
        """Label map and uncertainty of a whole slide in memory, from overlapping windows."""
        plan = self.plan(slide, OVERLAP)
        width, height = plan.size
        labels = np.zeros((height, width), dtype=np.uint8)
        doubt = np.zeros((height, width), dtype=np.float32)
        for chunk in plan.chunks():
            scores = chunk_scores(self.model, self.backbone, slide, plan, everything(slide), chunk)
            for block in blocks(chunk.box):
                p = scores.at(block).softmax(dim=0).numpy()
                area = slice(block.y, block.y + block.height), slice(block.x, block.x + block.width)
                labels[area] = p.argmax(axis=0)
                doubt[area] = entropy(np.moveaxis(p, 0, -1))
        if plan.size == slide.size:
            return Segmentation(labels, doubt)
        rows, columns = (
            np.minimum((np.arange(n) + 0.5) / plan.scale, m - 1).astype(np.intp)
            for n, m in zip(slide.size[::-1], labels.shape, strict=True)
        )
        at_level0 = np.ix_(rows, columns)
        return Segmentation(labels[at_level0], doubt[at_level0])

    def with_classes(self, extra: Sequence[TissueClass]) -> Segmenter:
        """The same with further classes known by words alone; see :func:`aczerots.prozs.vocabulary.with_classes`.

        Args:
            extra: Unseen classes, in words of their own or of the bundle.

        Raises:
            SettingsError: A class of that name is there.
        """
        from aczerots.prozs.vocabulary import with_classes
        from aczerots.text.descriptions import describe_taxonomy
        from aczerots.text.prototypes import text_prototypes

        told = describe_taxonomy(Taxonomy(classes=tuple(extra)), "descriptions")
        taxonomy = Taxonomy(classes=(*self.card.taxonomy.classes, *told.classes))
        model, card = with_classes(self.model, self.card, taxonomy, text_prototypes(self.backbone, told))
        return Segmenter(model, card, self.backbone)


def load_segmenter(
    path: Path,
    device: str = "cpu",
    *,
    compiled: bool = False,
    trust_remote_code: bool = False,
    opened: Backbone | None = None,
) -> Segmenter:
    """Segmenter from a model file; its card names backbone, helper and precision.

    Args:
        path: Model file.
        device: Where to compute.
        compiled: Compile the backbone's forward pass.
        trust_remote_code: Let the backbone's repository run Python code that it brings along. A model file cannot ask
            for this by itself.
        opened: A backbone that is open on this device already, taken if it is the model's.

    Raises:
        InputError: The file is not a model, or its backbone is not to be had in the same version.
    """
    from aczerots.backbones.locate import locate_backbone, locate_device

    device = locate_device(device)
    model, card = load_model(path)
    facts = card.backbone
    if opened is not None and opened.info.hash == card.backbone_hash:
        return Segmenter(model.to(device), card, opened)
    options = BackboneOptions(facts.helper or None, facts.precision, compiled, trust_remote_code)
    return Segmenter(model.to(device), card, locate_backbone(facts.locator, device, options))
