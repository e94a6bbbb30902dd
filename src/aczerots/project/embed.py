"""Fills a project's cache before anybody waits for it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from aczerots.backbones.cache import FeatureStore
from aczerots.backbones.storage import FeatureCache
from aczerots.engine.base import Engine
from aczerots.engine.progress import Progress
from aczerots.loop.embed import Embedded, embed_with
from aczerots.project.folder import open_project
from aczerots.project.running import Running, open_backbone


def embed_project(
    folder: Path,
    *,
    device: str = "cpu",
    compiled: bool = False,
    trust_remote_code: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Embedded:
    """Compute the features that the project's cache lacks; goes on after an interrupt.

    All workers must see the project's folder. The other arguments are those of
    :func:`aczerots.loop.embed.embed_dataset`.

    Raises:
        InputError: No project, or a slide or the weights cannot be used.
        StorageError: The disk has not the room, or cannot be written.
    """
    stores = partial(_project_stores, folder.absolute(), compiled, trust_remote_code)
    return embed_with(stores, device, engine, progress)


def _project_stores(folder: Path, compiled: bool, trust_remote_code: bool, device: str) -> tuple[FeatureStore]:
    """The store of a project's pool."""
    with open_project(folder) as project:
        model = open_backbone(project, Running(device, compiled, trust_remote_code))
        cache = FeatureCache(project.cache, model.info)
        return (FeatureStore(project.store.rounds.tiles(), project.slides, model, cache),)
