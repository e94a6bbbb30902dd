"""Where the files of a CLIP model are, which revision they have, and whether all that is needed is there."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aczerots.errors import InputError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""RGB statistics of CLIP's training images, in [0, 1] (published with Radford et al. 2021)."""

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json")
WORDS = ("special_tokens_map.json", "added_tokens.json")
USED = ("config.json", "model-*-of-*.safetensors", *WEIGHTS, *PREPROCESSING, *TOKENIZER, *WORDS)
"""All files that can change an embedding; nothing else is downloaded or hashed."""


def locate_files(source: str, used: Sequence[str] = USED, kind: str = "hf") -> tuple[Path, str]:
    """Find the folder of a model, downloading it if need be.

    Args:
        source: A folder, or a hub id, optionally with a revision: ``ID@REVISION``.
        used: Patterns of the files that can change an embedding; nothing else is downloaded or hashed.
        kind: Family, for messages.

    Returns:
        (folder, revision): the commit hash of a hub id, ``sha256:`` of the names and contents of all files
        used for a folder.

    Raises:
        InputError: No such folder or id, hub not reachable, access refused.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder, f"sha256:{_content_hash(folder, used)}"
    if source.startswith((".", "/", "~")) or folder.exists():
        raise InputError("is not a folder", where=source, fix="Give the folder of a model, or its hub id")
    folder = _download(source, used, kind)
    return folder, folder.name


def _content_hash(folder: Path, used: Sequence[str]) -> str:
    """SHA-256 over names and contents of the files used, as 64 hex digits."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in used for path in folder.glob(pattern) if path.is_file()}):
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _download(source: str, used: Sequence[str], kind: str) -> Path:
    """Snapshot of a hub id in the hub's own cache, named by its commit hash; works offline if cached."""
    hub: Any = importlib.import_module("huggingface_hub")
    errors: Any = importlib.import_module("huggingface_hub.errors")
    name, _, revision = source.partition("@")
    page = f"https://huggingface.co/{name}"
    known = {  # a refused access is also a model not found: the special case first
        errors.HFValidationError: ("is neither a folder nor a hub id", "A hub id looks like vinid/plip"),
        errors.GatedRepoError: ("access is refused", f"Accept its terms at {page}, then run: hf auth login"),
        errors.RevisionNotFoundError: (f"has no revision '{revision}'", f"They are listed at {page}/commits"),
        errors.RepositoryNotFoundError: ("no such model, or private", "Check the id, or run: hf auth login"),
    }
    unreachable = "cannot be downloaded and is not in the local cache"
    try:
        return Path(hub.snapshot_download(name, revision=revision or None, allow_patterns=list(used)))
    # The bases of the hub's error: OSError, and the base error of whichever HTTP library this version uses.
    except (errors.HFValidationError, *errors.HfHubHTTPError.__bases__) as error:
        what, fix = next(
            (said for kind, said in known.items() if isinstance(error, kind)),
            (
                unreachable,
                "Check the connection to huggingface.co and the disk space, or give a local folder",
            ),
        )
        raise InputError(what, where=f"{kind}:{source}", fix=fix) from error


def check_files(folder: Path, source: str) -> None:
    """See that a folder holds a CLIP configuration, safetensors weights and a tokenizer.

    Raises:
        InputError: It does not.
    """
    kind = _read_json(folder / "config.json", source).get("model_type")
    if kind != "clip":
        raise InputError(f"is a model of type '{kind}', not 'clip'", where=source, fix="hf: reads CLIP models")
    if not any((folder / name).is_file() for name in WEIGHTS):
        fix = "Pickled weights are never loaded; look for a conversion on the hub: hf:ID@refs/pr/NUMBER"
        raise InputError("has no weights in safetensors format", where=source, fix=fix)
    if (folder / "tokenizer.json").is_file():
        if "model" not in _read_json(folder / "tokenizer.json", source):
            raise InputError("tokenizer.json holds no tokenizer", where=source)
    elif not all((folder / name).is_file() for name in ("vocab.json", "merges.txt")):
        fix = "Put tokenizer.json, or vocab.json and merges.txt, beside the weights"
        raise InputError("has no tokenizer", where=source, fix=fix)


def image_statistics(folder: Path, source: str) -> tuple[Sequence[float], Sequence[float]]:
    """What images are normalised with.

    Returns:
        (mean, standard deviation), each for R, G, B in [0, 1]; CLIP's where it states none.

    Raises:
        InputError: They are not three numbers, or a deviation is not above zero.
    """
    path = next((p for p in (folder / name for name in PREPROCESSING) if p.is_file()), None)
    facts = {} if path is None else _read_json(path, source)
    inner = facts.get("image_processor", facts)
    facts = inner if isinstance(inner, dict) else facts
    if facts.get("do_normalize") is False:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean, std = facts.get("image_mean", CLIP_MEAN), facts.get("image_std", CLIP_STD)
    if not (_is_rgb(mean) and _is_rgb(std) and min(std) > 0):
        raise InputError("image_mean and image_std must be three numbers each, the latter above zero", where=path)
    return mean, std


def _is_rgb(values: object) -> bool:
    return isinstance(values, list | tuple) and len(values) == 3 and all(isinstance(v, float | int) for v in values)


def _read_json(path: Path, source: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        fix = "Give a folder written by save_pretrained"
        raise InputError(f"has no {path.name}", where=source, fix=fix) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} cannot be read: {error}", where=source) from error
    if not isinstance(data, dict):
        raise InputError(f"{path.name} is not a JSON object", where=source)
    return data
