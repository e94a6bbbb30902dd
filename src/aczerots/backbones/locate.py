"""Finds a backbone by its locator string."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from aczerots.backbones.base import Backbone
from aczerots.backbones.locator import Locator, parse_locator
from aczerots.backbones.options import BackboneOptions
from aczerots.backbones.precision import PrecisionBackbone
from aczerots.backbones.refine import Helper, RefinedBackbone
from aczerots.backbones.unsupported import refuse_known
from aczerots.errors import SettingsError

GROUP = "aczerots.backbones"
DEFAULTS = BackboneOptions()

FAMILIES = {
    "conch": "aczerots.backbones.conch:load_conch",
    "keep": "aczerots.backbones.keep:load_keep",
    "musk": "aczerots.backbones.musk:load_musk",
    "open_clip": "aczerots.backbones.open_clip:load_open_clip",
}
"""Loaders by kind, ``module:function`` of a Locator; imported when asked for."""


def locate_backbone(locator: str, device: str = "cpu", options: BackboneOptions = DEFAULTS) -> Backbone:
    """The backbone a locator names: ``embedded``, ``hf:ID_OR_FOLDER``, or an entry point ``NAME:REST``.

    Args:
        locator: What the user wrote, see locator.py for the grammar.
        device: Where it shall compute; ``auto`` takes an accelerator if there is one.
        options: How it is run.

    Raises:
        SettingsError: Unknown kind or method, or a device that is not there.
        InputError: The weights cannot be had or used.
        MissingExtraError: A library it needs is not installed.
    """
    device = locate_device(device)
    backbone = _open(parse_locator(locator), options)
    if options.refine_with is not None:
        backbone = RefinedBackbone(backbone, locate_helper(options.refine_with))
    if options.precision != "fp32" or options.compiled:
        backbone = PrecisionBackbone(backbone, options.precision, options.compiled)
    return backbone.to(device)


def locate_helper(locator: str) -> Helper:
    """The vision-only model that a locator names, on the CPU.

    Raises:
        SettingsError: Unknown kind.
        InputError: The weights cannot be had or used.
        MissingExtraError: A library it needs is not installed.
    """
    parts = parse_locator(locator)
    if parts.kind == "hf" and parts.source:
        from aczerots.backbones.vision import load_vision

        return load_vision(parts)
    if parts.kind == "timm" and parts.source:
        from aczerots.backbones.timm_vision import load_timm

        return load_timm(parts)
    fix = "Use hf:ID_OR_FOLDER or timm:NAME_OR_ID_OR_FOLDER"
    raise SettingsError(f"unknown helper '{locator}'", where="--refine-with", fix=fix)


def locate_device(name: str) -> str:
    """The device that a name stands for; ``auto`` is the accelerator that torch finds, else the CPU.

    Raises:
        SettingsError: It is not there.
    """
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
    """The bare backbone on the CPU. One branch per kind; ``options`` matter to the kind that may run code of others."""
    refuse_known(locator)
    if locator.text == "embedded":
        from aczerots.backbones.embedded import load_embedded

        return load_embedded()
    if locator.kind == "hf" and locator.source:
        from aczerots.backbones.hf import load_hf

        return load_hf(locator, options.trust_remote_code)
    if locator.kind in FAMILIES and locator.source:
        module, _, function = FAMILIES[locator.kind].partition(":")
        ours: Backbone = getattr(import_module(module), function)(locator)
        return ours
    if locator.kind == "timm":
        fix = f"Use it as a helper of one that has: --backbone hf:ID_OR_FOLDER --refine-with {locator.where}"
        raise SettingsError("models of timm have no text", where=locator.where, fix=fix)
    for point in entry_points(group=GROUP, name=locator.kind):
        backbone: Backbone = point.load()(locator.text.partition(":")[2])
        return backbone
    fix = f"Use embedded, hf:ID_OR_FOLDER, or {', '.join(f'{kind}:...' for kind in FAMILIES)}"
    raise SettingsError(f"unknown backbone '{locator.text}'", where="--backbone", fix=fix)
