"""Finds a backbone by its locator string."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from aczerots.backbones.base import Backbone
from aczerots.backbones.locator import Locator, parse_locator
from aczerots.backbones.options import BackboneOptions
from aczerots.backbones.precision import with_precision
from aczerots.backbones.refine import Helper, refine
from aczerots.backbones.unsupported import refuse_known
from aczerots.errors import SettingsError

GROUP = "aczerots.backbones"
DEFAULTS = BackboneOptions()

FAMILIES = {
    "hf": "aczerots.backbones.hf:load_hf",
    "conch": "aczerots.backbones.conch:load_conch",
    "keep": "aczerots.backbones.keep:load_keep",
    "musk": "aczerots.backbones.musk:load_musk",
    "open_clip": "aczerots.backbones.open_clip:load_open_clip",
}
"""Loaders of backbones by kind, ``module:function`` of a Locator; imported when asked for."""

HELPERS = {
    "hf": "aczerots.backbones.hf:load_vision",
    "timm": "aczerots.backbones.timm_vision:load_timm",
}
"""Loaders of vision-only helpers, likewise."""


def locate_backbone(locator: str, device: str = "cpu", options: BackboneOptions = DEFAULTS) -> Backbone:
    """The backbone a locator names: ``embedded``, ``KIND:ID_OR_FOLDER``, or an entry point ``NAME:REST``.

    Args:
        locator: What the user wrote; its grammar is in locator.py.
        device: Where it computes; ``auto`` takes an accelerator if there is one.
        options: How it is run.

    Raises:
        SettingsError: Unknown kind or method, or a device that is not there.
        InputError: The weights cannot be found or downloaded, are damaged, or are of another model.
        MissingExtraError: A library it needs is not installed.
    """
    device = locate_device(device)
    backbone = _open(parse_locator(locator), options)
    if options.refine_with is not None:
        backbone = refine(backbone, locate_helper(options.refine_with))
    if options.precision != "fp32" or options.compiled:
        backbone = with_precision(backbone, options.precision, options.compiled)
    return backbone.to(device)


def locate_helper(locator: str) -> Helper:
    """The vision-only model that a locator names, on the CPU; raises what :func:`locate_backbone` raises."""
    parts = parse_locator(locator)
    if parts.method or parts.large:
        raise SettingsError("a helper has no dense method", where=locator, fix="Leave out what follows '#'")
    if parts.kind in HELPERS and parts.source:
        helper: Helper = _imported(HELPERS[parts.kind])(parts)
        return helper
    fix = "Use hf:ID_OR_FOLDER or timm:NAME_OR_ID_OR_FOLDER"
    raise SettingsError(f"unknown helper '{locator}'", where="--refine-with", fix=fix)


def locate_device(name: str) -> str:
    """The device that a name stands for; ``auto`` is the accelerator that torch finds, else the CPU."""
    import torch

    if name == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return "cpu" if found is None else found.type
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device '{name}' is not available", where="--device", fix="Use --device cpu") from error
    return name


def _open(locator: Locator, options: BackboneOptions) -> Backbone:
    """The bare backbone on the CPU."""
    refuse_known(locator)
    kind = locator.kind
    if locator.text == "embedded":
        from aczerots.backbones.embedded import load_embedded

        return load_embedded()
    if kind in FAMILIES and locator.source:
        trust = {"trust_remote_code": options.trust_remote_code} if kind == "hf" else {}
        ours: Backbone = _imported(FAMILIES[kind])(locator, **trust)
        return ours
    if kind == "timm":
        fix = f"Use it as a helper of one that has: --backbone hf:ID_OR_FOLDER --refine-with {locator.where}"
        raise SettingsError("models of timm have no text", where=locator.where, fix=fix)
    for point in entry_points(group=GROUP, name=kind):
        backbone: Backbone = point.load()(locator.text.partition(":")[2])
        return backbone
    fix = f"Use embedded, {', '.join(f'{known}:...' for known in FAMILIES)}, or install the package that brings it"
    raise SettingsError(f"unknown backbone '{locator.text}'", where="--backbone", fix=fix)


def _imported(path: str) -> Any:
    """The function that ``module:function`` names."""
    module, _, function = path.partition(":")
    return getattr(import_module(module), function)
