"""The pool of a project, and how to compute on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from aczerots.backbones.base import Backbone
from aczerots.backbones.locate import locate_backbone, locate_device
from aczerots.backbones.options import BackboneOptions
from aczerots.engine.progress import Progress, Silent
from aczerots.errors import InputError
from aczerots.loop.pool import Pool, describe, open_pool
from aczerots.project.folder import Project


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


def open_project_pool(project: Project, running: Running) -> Pool:
    """Open the backbone and compute the features that the project's cache lacks; goes on after an interrupt.

    Raises:
        InputError: A slide is missing or has changed, or there are no tiles.
        SettingsError: The backbone or the device is unknown.
        StorageError: The disk has not the room for the features.
    """
    settings, tiles = project.settings, project.store.rounds.tiles()
    if not tiles:
        raise InputError("has no slides", where=project.folder, fix="Add some: aczerots import")
    project.slides.open_all()
    backbone = open_backbone(project, running)
    return open_pool(
        describe(project.taxonomy, settings.text, running.progress, "project.yaml"),
        tiles,
        project.slides,
        backbone,
        cache=project.cache,
        progress=running.progress,
        mpp=settings.mpp,
        device=locate_device(running.device),
    )


def open_backbone(project: Project, running: Running) -> Backbone:
    """The project's backbone.

    Raises:
        InputError: Its weights cannot be had.
        SettingsError: It or the device is unknown.
    """
    settings = project.settings
    options = BackboneOptions(settings.refine_with, settings.precision, running.compiled, running.trust_remote_code)
    return locate_backbone(settings.backbone, locate_device(running.device), options)
