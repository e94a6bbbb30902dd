"""Looks at the machine, the installation, the hub and the cache, and says what to do. Takes seconds, also offline."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal

from aczerots.backbones.hub import MODELS, HubAnswer, hub_cache, hub_facts
from aczerots.config import cache_folder
from aczerots.errors import AczerotsError
from aczerots.storage.machine import available_memory, folder_size, free_space, physical_memory, size_text
from aczerots.version import __version__

Status = Literal["ok", "info", "absent", "warning", "broken"]


@dataclass(frozen=True)
class Extra:
    """An extra of the package: what it is for, and the (distribution, module) pairs that it brings.

    ``section`` and ``name`` are those of the page; the name of the extra is the default.
    """

    section: str
    use: str
    parts: tuple[tuple[str, str], ...]
    name: str | None = None


_HUB = ("huggingface_hub", "huggingface_hub")
_PIECE, _TIMM = ("sentencepiece", "sentencepiece"), ("timm", "timm")
_HF = (("transformers", "transformers"), _PIECE, ("protobuf", "google.protobuf"))
_S3 = (("fsspec", "fsspec"), ("s3fs", "s3fs"))
_SLIDES = (
    ("openslide-python", "openslide"),
    ("tifffile", "tifffile"),
    ("rasterio", "rasterio"),
    ("shapely", "shapely"),
)
_SK = "--strategy skactiveml:... (query strategies of scikit-activeml)"
_CLIP = "open_clip:... (QuiltNet, BiomedCLIP, CoCa)"

EXTRAS: Mapping[str, Extra] = {
    "slides": Extra("installation", "whole slides", _SLIDES, "whole slides"),
    "hf": Extra("backbones", "hf:... and keep:... (CLIP, PLIP, SigLIP, KEEP)", _HF),
    "open-clip": Extra("backbones", _CLIP, (*_HF, ("open_clip_torch", "open_clip"), _TIMM)),
    "conch": Extra("backbones", "conch:...", (_HUB, ("tokenizers", "tokenizers"))),
    "musk": Extra("backbones", "musk:...", (_HUB, _PIECE)),
    "timm": Extra("backbones", "--refine-with timm:... (UNI, Virchow)", (_HUB, _TIMM)),
    "ray": Extra("many slides", "--engine ray", (("ray", "ray"),)),
    "remote": Extra("many slides", "slides and results at s3://... and other URLs", _S3),
    "skactiveml": Extra("choice of tiles", _SK, (("scikit_activeml", "skactiveml"),)),
}
"""Extras that the doctor looks for, by name."""

_LITTLE_MEMORY = 4 * 10**9
_LITTLE_DISK = 5 * 10**9


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        section: What it belongs to.
        name: What it is.
        status: ``info`` is neither good nor bad, ``absent`` things are not needed by all, ``broken`` ones are.
        detail: What was found.
        fix: What to do, if anything.
    """

    section: str
    name: str
    status: Status
    detail: str
    fix: str | None = None


def examine(timeout: float = 3.0) -> list[Check]:
    """All checks in the order in which they are shown.

    Args:
        timeout: Seconds for all questions to the hub together.
    """
    extras = [check for section in ("backbones", "many slides", "choice of tiles") for check in _extras(section)]
    installed = [*_libraries(), *_extras("installation"), _embedded(), *extras]
    return [*_machine(), *_accelerators(), *installed, *_hub(timeout), *_cache(), *_text()]


def _machine() -> Iterator[Check]:
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    yield Check("machine", "system", "ok", system)
    yield Check("machine", "processor", "ok", f"{os.cpu_count() or 1} cores")
    total, free = physical_memory(), available_memory()
    if total is None or free is None:
        yield Check("machine", "memory", "info", "unknown on this system")
    else:
        fix = "Close other programs, or use --cache pooled for large datasets"
        detail = f"{size_text(free)} free of {size_text(total)}"
        yield _enough("machine", "memory", free >= _LITTLE_MEMORY, detail, fix)


def _enough(section: str, name: str, enough: bool, detail: str, fix: str) -> Check:
    """Whether there is enough of something, and what to do if not."""
    return Check(section, name, "ok" if enough else "warning", detail, None if enough else fix)


def _accelerators() -> Iterator[Check]:
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        yield Check("machine", "accelerator", "info", "none; --device cpu is used")
    elif found.type == "cuda":
        for i in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(i)
            detail = f"{gpu.name}, {size_text(gpu.total_memory)}; use --device cuda:{i}"
            yield Check("machine", "accelerator", "ok", detail)
    else:
        yield Check("machine", "accelerator", "ok", f"{found.type}; use --device {found.type}")


def _libraries() -> Iterator[Check]:
    packages = ("torch", "numpy", "zarr", "safetensors", "scikit-learn", "sqlalchemy")
    yield Check("installation", "aczerots", "ok", __version__)
    yield Check("installation", "libraries", "ok", ", ".join(f"{name} {version(name)}" for name in packages))


def _embedded() -> Check:
    """Whether the built-in backbone opens."""
    from aczerots.backbones.embedded import load_embedded

    try:
        return Check("backbones", "embedded", "ok", f"built in, revision {load_embedded().info.revision[:12]}")
    except AczerotsError as error:
        return Check("backbones", "embedded", "broken", str(error), "Install aczerots again")


def _extras(section: str) -> Iterator[Check]:
    """Whether the parts of the extras of a section are installed."""
    for name, extra in EXTRAS.items():
        if extra.section != section:
            continue
        missing = [part for part, module in extra.parts if not _importable(module)]
        what = (
            f"not installed: {', '.join(missing)}" if missing else ", ".join(_version(part) for part, _ in extra.parts)
        )
        detail = what if extra.name == extra.use else f"{extra.use}; {what}"
        fix = f"pip install 'aczerots[{name}]'   for {extra.use}" if missing else None
        yield Check(section, extra.name or name, "absent" if missing else "ok", detail, fix)


def _importable(module: str) -> bool:
    """Whether a module is there, without importing it; ``find_spec`` alone raises where its parent is missing."""
    parent = module.partition(".")[0]
    return find_spec(parent) is not None and find_spec(module) is not None


def _version(name: str) -> str:
    """A distribution with its version."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:  # importable, though nobody installed it: a source tree on the path
        return f"{name} of unknown version"


def _hub(timeout: float) -> Iterator[Check]:
    """Whether the hub answers, and which known models can be downloaded."""
    facts = hub_facts(timeout)
    if facts.offline:
        fix = "Unset HF_HUB_OFFLINE to download models"
        yield Check("hub", "connection", "info", f"off: {facts.offline} is set; only cached models are used", fix)
    elif facts.problem:
        fix = "Work offline with cached models or local folders, or check the network and HF_ENDPOINT"
        yield Check("hub", "connection", "warning", f"{facts.endpoint} does not answer ({facts.problem})", fix)
    else:
        token = "signed in" if facts.token else "not signed in"
        yield Check("hub", "connection", "ok", f"{facts.endpoint} answers; {token}")
    unknown = [MODELS[a.model] for a in facts.models if a.access is None and not a.cached]
    yield from (_model(a, facts.endpoint) for a in facts.models if a.access is not None or a.cached)
    if unknown:
        yield Check("hub", "not downloaded", "absent", ", ".join(unknown))


def _model(answer: HubAnswer, endpoint: str) -> Check:
    """Whether a model of the hub can be used."""
    name = MODELS[answer.model]
    if answer.cached:
        return Check("hub", name, "ok", f"{answer.model}, downloaded")
    if answer.access == "granted":
        terms = "gated, you have access" if answer.gated else "free to download"
        return Check("hub", name, "ok", f"{answer.model}, {terms}")
    if answer.access == "refused":
        fix = f"accept the terms of {endpoint}/{answer.model} and run: hf auth login   for {name}"
        return Check("hub", name, "absent", f"{answer.model}, gated, you have no access", fix)
    return Check("hub", name, "absent", f"{answer.model}, unknown to this hub")


def _cache() -> Iterator[Check]:
    """The cache of dense features: where, how large, and whether it can be written."""
    folder = cache_folder()
    size, shards = size_text(folder_size(folder)), sum(1 for _ in folder.glob("*/shard-*.zarr"))
    yield Check("cache", "folder", "ok" if folder.is_dir() else "info", f"{folder}, {size} in {shards} shards")
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        fix = "Set ACZEROTS_CACHE to a folder that you may write to"
        yield Check("cache", "writable", "broken", f"{there} cannot be written", fix)
    free = free_space(folder)
    fix = "Free some space, or set ACZEROTS_CACHE to a folder on another disk"
    yield _enough("cache", "disk", free >= _LITTLE_DISK, f"{size_text(free)} free", fix)
    hub = hub_cache()
    if hub.is_dir():
        yield Check("cache", "models", "ok", f"{hub}, {size_text(folder_size(hub))}")


def _text() -> Iterator[Check]:
    """What ``aczerots describe`` works with; the key itself is never shown."""
    from aczerots.text.descriptions import known_classes

    yield Check("text", "bundle", "ok", f"{len(known_classes())} described classes")
    url, model = os.environ.get("OPENAI_BASE_URL"), os.environ.get("ACZEROTS_LLM_MODEL")
    if url and model:
        key = "with a key" if os.environ.get("OPENAI_API_KEY") else "without a key"
        yield Check("text", "language model", "ok", f"{model} at {url}, {key}")
    else:
        fix = "For `aczerots describe` on new classes: set OPENAI_BASE_URL and ACZEROTS_LLM_MODEL"
        yield Check("text", "language model", "absent", "none set up; the bundle needs none", fix)
