"""Fills a project's cache before anybody waits for it."""

from __future__ import annotations

from pathlib import Path

from aczerots.backbones.cache import GridStore
from aczerots.backbones.storage import GridCache
from aczerots.embed import Embedded, fill_stores
from aczerots.progress import Progress, Silent
from aczerots.project.bench import Running, open_backbone
from aczerots.project.folder import open_project


def embed_project(
    folder: Path,
    *,
    device: str = "cpu",
    compiled: bool = False,
    trust_remote_code: bool = False,
    progress: Progress | None = None,
) -> Embedded:
    """Compute the grids that the project's cache lacks; goes on after an interrupt.

    Args:
        folder: The project.
        device: Where to compute.
        compiled: Compile the backbone.
        trust_remote_code: Let the backbone's repository run Python code it brings along.
        progress: Receives progress.

    Raises:
        InputError: No project, or a slide or the weights cannot be used.
        StorageError: The disk has not the room, or cannot be written.
    """
    running = Running(device, compiled, trust_remote_code, progress or Silent())
    with open_project(folder) as project:
        model = open_backbone(project, running)
        cache = GridCache(project.cache, model.info)
        store = GridStore(project.store.rounds.tiles(), project.slides, model, cache)
        return fill_stores([store], cache, running.progress)
