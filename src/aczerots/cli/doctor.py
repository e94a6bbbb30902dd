"""Looks at the machine, the installation, the hub and the cache, and says what to do. Takes seconds, also offline."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal

from aczerots import __version__
from aczerots.backbones.hub import MODELS, HubAnswer, hub_cache, hub_facts
from aczerots.config import cache_folder
from aczerots.errors import AczerotsError
from aczerots.storage.machine import available_memory, folder_size, free_space, physical_memory, size_text

Status = Literal["ok", "info", "absent", "warning", "broken"]

_HF = (("transformers", "transformers"), ("sentencepiece", "sentencepiece"), ("protobuf", "google.protobuf"))

EXTRAS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "hf": _HF,
    "open-clip": (*_HF, ("open_clip_torch", "open_clip"), ("timm", "timm")),
    "conch": (("huggingface_hub", "huggingface_hub"), ("tokenizers", "tokenizers")),
    "musk": (("huggingface_hub", "huggingface_hub"), ("sentencepiece", "sentencepiece")),
    "timm": (("huggingface_hub", "huggingface_hub"), ("timm", "timm")),
}
"""(distribution, module) that each extra of a backbone brings."""

MANY: Mapping[str, tuple[tuple[str, str], ...]] = {
    "ray": (("ray", "ray"),),
    "remote": (("fsspec", "fsspec"), ("s3fs", "s3fs")),
}
"""(distribution, module) that each extra for many slides brings."""

CHOICE: Mapping[str, tuple[tuple[str, str], ...]] = {"skactiveml": (("scikit_activeml", "skactiveml"),)}
"""(distribution, module) that each extra for the choice of tiles brings."""

SLIDES = (("openslide-python", "openslide"), ("tifffile", "tifffile"), ("rasterio", "rasterio"), ("shapely", "shapely"))
"""(distribution, module) that the extra ``slides`` brings."""

SERVES = {
    "hf": "hf:... and keep:... (CLIP, PLIP, SigLIP, KEEP)",
    "open-clip": "open_clip:... (QuiltNet, BiomedCLIP, CoCa)",
    "conch": "conch:...",
    "musk": "musk:...",
    "timm": "--refine-with timm:... (UNI, Virchow)",
    "ray": "--engine ray",
    "skactiveml": "--strategy skactiveml:... (query strategies of scikit-activeml)",
    "remote": "slides and results at s3://... and other URLs",
}

_LITTLE_MEMORY = 4 * 10**9
_LITTLE_DISK = 5 * 10**9


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        section: What it belongs to.
        name: What it is.
        status: ``ok``; ``info``, which is neither good nor bad; ``absent``, not there and not needed by all;
            ``warning``; ``broken``, which every user needs.
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
    return [
        *_machine(),
        *_devices(),
        *_versions(),
        *_backbones(),
        *_extras("many slides", MANY),
        *_extras("choice of tiles", CHOICE),
        *_hub(timeout),
        *_cache(),
        *_words(),
    ]


def _machine() -> Iterator[Check]:
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    yield Check("machine", "system", "ok", system)
    yield Check("machine", "processor", "ok", f"{os.cpu_count() or 1} cores")
    total, free = physical_memory(), available_memory()
    if total is None or free is None:
        yield Check("machine", "memory", "info", "not said by this system")
        return
    little = free < _LITTLE_MEMORY
    fix = "Close other programs, or use --cache pooled for large datasets" if little else None
    status: Status = "warning" if little else "ok"
    yield Check("machine", "memory", status, f"{size_text(free)} free of {size_text(total)}", fix)


def _devices() -> Iterator[Check]:
    """Accelerators that torch finds."""
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        yield Check("machine", "accelerator", "info", "none; --device cpu is used")
    elif found.type == "cuda":
        for i in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(i)
            detail = f"{facts.name}, {size_text(facts.total_memory)}; use --device cuda:{i}"
            yield Check("machine", "accelerator", "ok", detail)
    else:
        yield Check("machine", "accelerator", "ok", f"{found.type}; use --device {found.type}")


def _versions() -> Iterator[Check]:
    packages = ("torch", "numpy", "zarr", "safetensors", "scikit-learn", "sqlalchemy")
    detail = ", ".join(f"{name} {version(name)}" for name in packages)
    yield Check("installation", "aczerots", "ok", __version__)
    yield Check("installation", "libraries", "ok", detail)
    missing = [name for name, module in SLIDES if find_spec(module) is None]
    if missing:
        fix = "pip install 'aczerots[slides]'   for whole slides"
        yield Check("installation", "whole slides", "absent", f"not installed: {', '.join(missing)}", fix)
    else:
        detail = ", ".join(f"{name} {_version(name)}" for name, _ in SLIDES)
        yield Check("installation", "whole slides", "ok", detail)


def _backbones() -> Iterator[Check]:
    """The built-in backbone, and the extras of the others."""
    from aczerots.backbones.embedded import load_embedded

    try:
        info = load_embedded().info
        yield Check("backbones", "embedded", "ok", f"built in, revision {info.revision[:12]}")
    except AczerotsError as error:
        yield Check("backbones", "embedded", "broken", str(error), "Install aczerots again")
    yield from _extras("backbones", EXTRAS)


def _extras(section: str, extras: Mapping[str, tuple[tuple[str, str], ...]]) -> Iterator[Check]:
    """Whether the parts of some extras are installed."""
    for extra, parts in extras.items():
        missing = [name for name, module in parts if not _importable(module)]
        if missing:
            detail = f"{SERVES[extra]}; not installed: {', '.join(missing)}"
            fix = f"pip install 'aczerots[{extra}]'   for {SERVES[extra]}"
            yield Check(section, extra, "absent", detail, fix)
        else:
            detail = f"{SERVES[extra]}; " + ", ".join(f"{name} {_version(name)}" for name, _ in parts)
            yield Check(section, extra, "ok", detail)


def _importable(module: str) -> bool:
    """Whether a module is there, without importing it; ``find_spec`` alone raises where its parent is missing."""
    parent = module.partition(".")[0]
    return find_spec(parent) is not None and find_spec(module) is not None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # importable, though nobody installed it: a source tree on the path
        return "of unknown version"


def _hub(timeout: float) -> Iterator[Check]:
    """Whether the hub answers, and which known models can be had."""
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
    """What is known about one model."""
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
    """The cache of grids: where, how large, and whether it can be written."""
    folder = cache_folder()
    size = size_text(folder_size(folder))
    grids = sum(1 for _ in folder.glob("*/shard-*.zarr"))
    yield Check("cache", "folder", "ok" if folder.is_dir() else "info", f"{folder}, {size} in {grids} shards of grids")
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        fix = "Set ACZEROTS_CACHE to a folder that you may write to"
        yield Check("cache", "writable", "broken", f"{there} cannot be written", fix)
    free = free_space(folder)
    little = free < _LITTLE_DISK
    advice = "Free some space, or set ACZEROTS_CACHE to a folder on another disk" if little else None
    yield Check("cache", "disk", "warning" if little else "ok", f"{size_text(free)} free", advice)
    hub = hub_cache()
    if hub.is_dir():
        yield Check("cache", "models", "ok", f"{hub}, {size_text(folder_size(hub))}")


def _words() -> Iterator[Check]:
    """What ``aczerots describe`` has to work with; the key itself is never shown."""
    from aczerots.text.descriptions import known_classes

    yield Check("text", "bundle", "ok", f"{len(known_classes())} described classes")
    url, model = os.environ.get("OPENAI_BASE_URL"), os.environ.get("ACZEROTS_LLM_MODEL")
    if url and model:
        key = "with a key" if os.environ.get("OPENAI_API_KEY") else "without a key"
        yield Check("text", "language model", "ok", f"{model} at {url}, {key}")
    else:
        fix = "For `aczerots describe` on new classes: set OPENAI_BASE_URL and ACZEROTS_LLM_MODEL"
        yield Check("text", "language model", "absent", "none set up; the bundle needs none", fix)
