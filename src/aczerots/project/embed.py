"""Fills a project's cache before anybody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aczerots.backbones.cache import FeatureStore
from aczerots.backbones.storage import FeatureCache
from aczerots.engine.base import Engine
from aczerots.engine.local import HereEngine
from aczerots.engine.progress import Progress, Silent
from aczerots.loop.embed import Embedded, EmbedUnit, Stores, filler, spread
from aczerots.project.bench import Running, open_backbone
from aczerots.project.folder import open_project


def embed_project(
    folder: Path,
    *,
    device: str = "cpu",
    compiled: bool = False,
    trust_remote_code: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Embedded:
    """Compute the grids that the project's cache lacks; goes on after an interrupt.

    Args:
        folder: The project.
        device: Where to compute without an engine of several workers.
        compiled: Compile the backbone.
        trust_remote_code: Let the backbone's repository run Python code it brings along.
        engine: Where to compute; None takes this process. All workers must see the project's folder.
        progress: Receives progress.

    Raises:
        InputError: No project, or a slide or the weights cannot be used.
        StorageError: The disk has not the room, or cannot be written.
    """
    engine = engine or HereEngine(device)
    job = ProjectJob(str(folder.absolute()), compiled, trust_remote_code)
    return spread(job.stores(device if engine.here else "cpu"), job, engine, progress or Silent())


@dataclass(frozen=True)
class ProjectJob:
    """Filling a project's cache; satisfies :class:`~aczerots.engine.base.Job`.

    Attributes:
        folder: The project.
        compiled: Compile the backbone.
        trust_remote_code: Let the backbone's repository run Python code it brings along.
    """

    folder: str
    compiled: bool = False
    trust_remote_code: bool = False

    def stores(self, device: str) -> Stores:
        """Open backbone, slides and cache. Errors are those of :func:`embed_project`."""
        with open_project(Path(self.folder)) as project:
            model = open_backbone(project, Running(device, self.compiled, self.trust_remote_code))
            cache = FeatureCache(project.cache, model.info)
            return ((FeatureStore(project.store.rounds.tiles(), project.slides, model, cache), cache),)

    def open(self, device: str) -> Callable[[EmbedUnit], None]:
        """See :class:`~aczerots.engine.base.Job`."""
        return filler(self.stores(device))
