"""A project as the loop sees it: slides without truth, the pool with its grids, words."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aczerots.backbones.base import Backbone
from aczerots.backbones.locate import locate_backbone, locate_device
from aczerots.backbones.options import BackboneOptions
from aczerots.datasets.base import Dataset, Sample
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import InputError
from aczerots.loop.workbench import TileSet, Workbench, embed_tile_set
from aczerots.project.folder import Project
from aczerots.slides.base import Box
from aczerots.taxonomy import IGNORE
from aczerots.text.descriptions import describe_taxonomy, undescribed
from aczerots.text.prototypes import text_prototypes


@dataclass(frozen=True)
class Running:
    """How to compute; decides no numbers.

    Attributes:
        device: Where backbone and model compute.
        compiled: Compile the backbone's forward pass.
        trust_remote_code: Let the backbone's repository run Python code that it brings along.
        progress: Receives progress.
    """

    device: str = "cpu"
    compiled: bool = False
    trust_remote_code: bool = False
    progress: Progress = field(default_factory=Silent)


class Undrawn:
    """Truth that nobody has drawn: IGNORE everywhere; satisfies :class:`~aczerots.slides.base.LabelMap`."""

    def read(self, box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
        """IGNORE, uint8 [height, width]."""
        del box
        return np.full((size[1], size[0]), IGNORE, dtype=np.uint8)


def open_bench(project: Project, running: Running) -> Workbench:
    """Open the backbone and compute the grids that the project's cache lacks; goes on after an interrupt.

    Raises:
        InputError: A slide is missing or has changed, or there are no tiles.
        SettingsError: The backbone or the device is unknown.
        StorageError: The disk has not the room for the grids.
    """
    settings = project.settings
    tiles = project.store.rounds.tiles()
    if not tiles:
        raise InputError("has no slides", where=project.folder, fix="Add some: aczerots import")
    model = open_backbone(project, running)
    bare = undescribed(project.taxonomy) if settings.text == "descriptions" else ()
    if bare:
        fix = "project.yaml can hold sentences"
        running.progress.say(f"no description for: {', '.join(bare)}; uses templates of the name ({fix})")
    taxonomy = describe_taxonomy(project.taxonomy, settings.text)
    words = text_prototypes(model, taxonomy).cpu()
    samples = tuple(Sample(slide, Undrawn(), "train") for slide in project.slides.values())
    pool = embed_tile_set(tiles, project.slides, model, project.cache, running.progress, stage="embed pool")
    data = Dataset(project.folder.resolve().name, taxonomy, samples)
    return Workbench(data, taxonomy, model, words, pool, TileSet([], pool.grids), locate_device(running.device))


def open_backbone(project: Project, running: Running) -> Backbone:
    """The project's backbone.

    Raises:
        InputError: Its weights cannot be had.
        SettingsError: It or the device is unknown.
    """
    settings = project.settings
    options = BackboneOptions(settings.refine_with, settings.precision, running.compiled, running.trust_remote_code)
    return locate_backbone(settings.backbone, locate_device(running.device), options)
