"""A fitted model with its backbone: the one predictor of tiles, images and whole slides."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aczerots.backbones.base import Backbone
from aczerots.backbones.options import BackboneOptions
from aczerots.errors import InputError
from aczerots.predict.blend import WindowFeatures, box_scores, cells_per_feature, chunk_side, scored_blocks
from aczerots.predict.features import computed
from aczerots.predict.windows import feature_windows, slide_backbone
from aczerots.prozs.checkpoint import ModelCard, load_model
from aczerots.prozs.model import ProZS
from aczerots.selection.uncertainty import entropy
from aczerots.slides.base import Box, Slide, Tile
from aczerots.slides.labelled import background_class
from aczerots.slides.tissue import TissueMask, everything, find_tissue
from aczerots.slides.windows import WindowPlan
from aczerots.taxonomy import IGNORE, Taxonomy, TissueClass


@dataclass(frozen=True)
class Segmentation:
    """Labels of a slide or of a part of it.

    Attributes:
        labels: Label ids uint8 [height, width].
        uncertainty: Normalised entropy of the posterior, float32 [height, width], 0 (sure) to 1.
    """

    labels: NDArray[np.uint8]
    uncertainty: NDArray[np.float32]


class Segmenter:
    """A fitted model with its backbone: segments slides, parts of slides and tiles, all in the same way.

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
        """Windows over a slide at the resolution the model was fitted at, in the cells that the model gives.

        Args:
            slide: The slide.
            overlap: Fraction of its side that a window has in common with the next; None takes what suits slide and
                backbone (:func:`~aczerots.predict.windows.feature_windows`).
            chunk: Side of a chunk in map pixels, None takes what memory allows.
            shift: Moves the windows.

        Raises:
            InputError: The slide states no resolution and the model needs one.
        """
        windows = feature_windows(
            self.backbone, slide, self.card.tile_size, self.card.mpp, overlap=overlap, shift=shift
        )
        factor = self._cells_per_feature
        side = chunk or chunk_side(len(self.card.taxonomy), windows.cell / factor)
        return windows.refined(factor, side)

    @cached_property
    def _cells_per_feature(self) -> int:
        return cells_per_feature(self.model, self.backbone.info)

    def features(self, slide: Slide, plan: WindowPlan, tissue: TissueMask) -> WindowFeatures:
        """Computes the features of the windows of a plan.

        Args:
            slide: The slide.
            plan: Its windows.
            tissue: What is to be labelled. The stain is that of the tissue that is found, whatever that is.

        Raises:
            InputError: The slide cannot be read.
        """
        stained = find_tissue(slide) if plan.rim and tissue.edge is None else tissue
        return computed(slide_backbone(self.backbone, slide, plan, stained), slide, plan.rim)

    def segment(
        self,
        slide: Slide,
        box: Box | None = None,
        features: WindowFeatures | None = None,
        tissue: TissueMask | None = None,
    ) -> Segmentation:
        """Labels and uncertainty, in memory.

        Args:
            slide: The slide.
            box: Level-0 pixels inside the slide; None takes all of it.
            features: Gives features that are known already; None computes them.
            tissue: What gets a class, as in :meth:`tile_labels`; None is everything.

        Returns:
            Arrays of the size of the box in level-0 pixels.

        Raises:
            InputError: The slide cannot be read, or states no resolution and the model needs one.
        """
        box = box or Box(0, 0, *slide.size)
        plan, whole = self.plan(slide), tissue or everything(slide)
        if features is None:
            features = self.features(slide, plan, whole)
        area = plan.map_box(box)
        labels = np.zeros((area.height, area.width), dtype=np.uint8)
        doubt = np.zeros((area.height, area.width), dtype=np.float32)
        for block, scores in scored_blocks(self.model, plan, features, area, whole):
            p = scores.at(block).softmax(dim=0).numpy()
            y, x = block.y - area.y, block.x - area.x
            place = slice(y, y + block.height), slice(x, x + block.width)
            labels[place] = p.argmax(axis=0)
            doubt[place] = entropy(np.moveaxis(p, 0, -1))
        labels = labels if tissue is None else self._on_tissue(labels, tissue, plan.level0(area))
        if labels.shape == (box.height, box.width):
            return Segmentation(labels, doubt)
        rows, columns = (
            np.clip((start + np.arange(n) + 0.5) // plan.scale - first, 0, m - 1).astype(np.intp)
            for start, n, first, m in (
                (box.y, box.height, area.y, area.height),
                (box.x, box.width, area.x, area.width),
            )
        )
        at_level0 = np.ix_(rows, columns)
        return Segmentation(labels[at_level0], doubt[at_level0])

    def tile_labels(
        self, tile: Tile, slide: Slide, features: WindowFeatures, tissue: TissueMask | None = None
    ) -> NDArray[np.uint8]:
        """What :meth:`segment` says of a tile, at the resolution that the tile is read at.

        Args:
            tile: The tile.
            slide: Its slide.
            features: Gives the features of the slide's windows.
            tissue: What gets a class; None is everything.

        Returns:
            Label ids uint8 [rows, columns] of ``tile.inner``; the rest is of the background class, or IGNORE.
        """
        plan = self.plan(slide)
        rows, columns = tile.inner
        corner = plan.map_box(tile.box)
        box = Box(corner.x, corner.y, columns.stop - columns.start, rows.stop - rows.start)
        best = box_scores(self.model, plan, features, box, tissue or everything(slide)).best(box)
        return best if tissue is None else self._on_tissue(best, tissue, plan.level0(box))

    def _on_tissue(self, labels: NDArray[np.uint8], tissue: TissueMask, box: Box) -> NDArray[np.uint8]:
        """Labels [h, w] of a box where there is tissue, the background class elsewhere, IGNORE if there is none."""
        glass = background_class(self.card.taxonomy)
        inside = tissue.read(box, (labels.shape[1], labels.shape[0]))
        return np.where(inside, labels, np.uint8(IGNORE if glass is None else glass))

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
    info = card.backbone
    if opened is not None and opened.info.hash == card.backbone_hash:
        return Segmenter(model.to(device), card, opened)
    options = BackboneOptions(info.helper or None, info.precision, compiled, trust_remote_code)
    return Segmenter(model.to(device), card, locate_backbone(info.locator, device, options))
