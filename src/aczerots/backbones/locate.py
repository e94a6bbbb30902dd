"""Finds a backbone by its locator string."""

from __future__ import annotations

from importlib.metadata import entry_points

from aczerots.backbones.base import Backbone
from aczerots.errors import SettingsError

GROUP = "aczerots.backbones"


def locate_backbone(locator: str, device: str = "cpu") -> Backbone:
    """The backbone a locator names: ``embedded``, ``hf:ID_OR_FOLDER``, or an entry point ``NAME:REST``.

    Args:
        locator: What the user wrote.
        device: Where it shall compute.

    Raises:
        SettingsError: Unknown kind, or a device that is not there.
        InputError: The weights cannot be had or used.
        MissingExtraError: A library it needs is not installed.
    """
    import torch

    kind, _, rest = locator.partition(":")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device '{device}' is not available", where="--device", fix="Use --device cpu") from error
    if locator == "embedded":
        from aczerots.backbones.embedded import load_embedded

        return load_embedded().to(device)
    if kind == "hf" and rest:
        from aczerots.backbones.clip import load_clip

        return load_clip(rest, device)
    for point in entry_points(group=GROUP, name=kind):
        backbone: Backbone = point.load()(rest)
        return backbone.to(device)
    raise SettingsError(f"unknown backbone '{locator}'", where="--backbone", fix="Use embedded or hf:ID_OR_FOLDER")
